"""How the system is, as far as topics tell."""

from typing import Any

from fastapi import APIRouter

from contracts.topics import DEAD_LETTERS
from services.kit.lag import group_lags
from services.ops.ops import TheOps, Viewer

router = APIRouter(prefix="/v1", tags=["health"])


@router.get("/lag", summary="How far each service is behind its topics")
async def lag(ops: TheOps, _caller: Viewer) -> list[dict[str, Any]]:
    """Records that are on a topic and not acknowledged yet, and the age of the oldest."""
    servers = ops.settings.kafka_bootstrap_servers
    return [each._asdict() for each in await group_lags(servers, DEAD_LETTERS)]
