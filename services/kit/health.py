"""/healthz, /readyz and /metrics.

Healthy means progress: a process whose consumer stands still although there is work, and although
database and broker are there, should be restarted. Ready means that database, broker and group are
there; not being ready mends itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

Check = Callable[[], Awaitable[str | None]]
"""Says what is wrong, or None."""


class Examined(Protocol):
    """What the probes ask of a service."""

    def liveness(self) -> str | None:
        """Why this process should be restarted, or None."""

    async def readiness(self) -> dict[str, str]:
        """What is missing, by part; empty when ready."""


def health_routes(service: Examined) -> list[Route]:
    async def healthz(_request: Request) -> Response:
        trouble = service.liveness()
        if trouble is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "stalled", "reason": trouble}, status_code=503)

    async def readyz(_request: Request) -> Response:
        try:
            async with asyncio.timeout(2):
                missing = await service.readiness()
        except TimeoutError:
            missing = {"readiness": "the checks took longer than 2 s"}
        if not missing:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "missing": missing}, status_code=503)

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]
