"""What every route needs, in one place, and how a route gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.kit.auth import Caller, SignedIn
from services.kit.problems import ApiProblem
from services.kit.service import Service
from services.ops.settings import OpsSettings

READERS = frozenset({"viewer", "admin"})


@dataclass(frozen=True, slots=True)
class Ops:
    settings: OpsSettings
    service: Service


async def _ops(request: Request) -> Ops:
    ops: Ops = request.app.state.ops
    return ops


TheOps = Annotated[Ops, Depends(_ops)]


async def _viewer(caller: SignedIn) -> Caller:
    if not caller.roles & READERS:
        raise ApiProblem(403, "This call needs the role viewer or admin")
    return caller


Viewer = Annotated[Caller, Depends(_viewer)]
"""The parameter of a route that shows something."""
