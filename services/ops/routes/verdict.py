"""What ops can prove of the shop as a whole."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from services.kit.work import utc_now
from services.ops.checking import Check, Patience, check_all
from services.ops.ops import TheOps, Viewer
from services.ops.routes.parameters import Seconds

router = APIRouter(prefix="/v1", tags=["health"])


@router.get("/verdict", summary="Check what ops has consumed: audit, money, stock, what waits")
async def verdict(
    ops: TheOps,
    _caller: Viewer,
    settled_seconds: Seconds = 30,
    waiting_seconds: Annotated[
        Seconds | None, Query(description="STUCK_AFTER_SECONDS if not said")
    ] = None,
    lag_seconds: Seconds = 10,
) -> list[Check]:
    """Reads the whole audit. Each check with what it looked at, how much of it is wrong, and the
    first findings; orders that changed within `settled_seconds` are not compared. One request at a
    time; 503 meanwhile."""
    waiting = ops.settings.stuck_after_seconds if waiting_seconds is None else waiting_seconds
    patience = Patience(timedelta(seconds=settled_seconds), timedelta(seconds=waiting), lag_seconds)
    servers = ops.settings.kafka_bootstrap_servers
    async with ops.one_proof():
        return await check_all(ops.service.pool, servers, utc_now(), patience)
