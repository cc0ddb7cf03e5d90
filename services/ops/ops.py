"""What every route needs, in one place, and how a route gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from services.kit.auth import Caller
from services.kit.service import Service
from services.ops.access import May, Task
from services.ops.settings import OpsSettings


@dataclass(frozen=True, slots=True)
class Ops:
    settings: OpsSettings
    service: Service


async def _ops(request: Request) -> Ops:
    ops: Ops = request.app.state.ops
    return ops


TheOps = Annotated[Ops, Depends(_ops)]


Viewer = Annotated[Caller, Depends(May(Task.LOOK))]
"""The parameter of a route that shows something."""
