"""What every route needs, in one place, and how a route gets at it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from services.kit.auth import Caller
from services.kit.problems import unavailable
from services.kit.service import Service
from services.ops.access import May, Task
from services.ops.settings import OpsSettings


@dataclass(frozen=True, slots=True)
class Ops:
    settings: OpsSettings
    service: Service
    proving: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the whole audit is read for a request."""

    @asynccontextmanager
    async def one_proof(self) -> AsyncIterator[None]:
        """For what reads the whole audit: one request of a process at a time. Several would take
        all connections of the pool, and every other request would wait for them.

        Raises:
            ApiProblem: 503 while another one does.
        """
        if self.proving.locked():
            raise unavailable("The audit is being checked for another request; try again later")
        async with self.proving:
            yield


async def _ops(request: Request) -> Ops:
    ops: Ops = request.app.state.ops
    return ops


TheOps = Annotated[Ops, Depends(_ops)]


Viewer = Annotated[Caller, Depends(May(Task.LOOK))]
"""The parameter of a route that shows something."""
