"""The audit: its newest records, and the proof that it is whole."""

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from services.kit.work import utc_now
from services.ops.ops import TheOps, Viewer
from services.ops.routes.parameters import Seconds
from services.ops.store import audit
from services.ops.verifying import Verdict, verify

router = APIRouter(prefix="/v1/audit", tags=["audit"])

Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("", summary="The newest audit records")
async def tail(
    ops: TheOps,
    _caller: Viewer,
    after: Annotated[int | None, Query(ge=0, lt=2**63, description="a record's `id`")] = None,
    limit: Limit = 20,
) -> list[dict[str, Any]]:
    """The oldest of them first; with `after`, those that follow that record."""
    pool = ops.service.pool
    if after is None:
        rows = await audit.find_tail(pool, limit)
    else:
        rows = await audit.find_newer(pool, after, limit)
    return [dict(row) for row in rows]


@router.get("/verdict", summary="Prove the audit")
async def verdict(
    ops: TheOps,
    _caller: Viewer,
    settled_seconds: Annotated[
        Seconds, Query(description="orders that changed since are not compared")
    ] = 30,
) -> Verdict:
    """Reads all of it: every hash, every history, and how each order was published last. One
    request at a time; 503 meanwhile."""
    async with ops.one_proof():
        return await verify(ops.service.pool, utc_now() - timedelta(seconds=settled_seconds))
