"""The first page: what needs a person, and whether the system keeps up."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request, Response

from services.kit.errors import INFRASTRUCTURE
from services.kit.work import utc_now
from services.ops.console.pages import page
from services.ops.console.session import Reader, Visitor
from services.ops.console.words import id_at
from services.ops.ops import Ops, TheOps
from services.ops.routes import health
from services.ops.routes import orders as api
from services.ops.store import audit, letters, orders

router = APIRouter()

_COUNTED = 100
_SHOWN = 5
_DAY = timedelta(days=1)
_LAG_TIMEOUT = 10.0


@router.get("/")
async def overview(request: Request, ops: TheOps, visitor: Reader) -> Response:
    return page(request, visitor, "overview.html", **await _facts(ops, visitor))


@router.get("/overview/now")
async def overview_now(request: Request, ops: TheOps, visitor: Reader) -> Response:
    """The part of it that changes."""
    return page(request, visitor, "overview_now.html", **await _facts(ops, visitor))


@router.get("/overview/lag")
async def lag(request: Request, ops: TheOps, visitor: Reader) -> Response:
    """How far each service is behind: asked of Kafka, so it may take a moment or fail."""
    behind: Counter[str] = Counter()
    try:
        async with asyncio.timeout(_LAG_TIMEOUT):
            for row in await health.lag(ops, visitor.caller):
                behind[row["group"]] += row["records"]
    except INFRASTRUCTURE:
        return page(request, visitor, "lag.html", behind=None)
    return page(request, visitor, "lag.html", behind=sorted(behind.items()))


async def _facts(ops: Ops, visitor: Visitor) -> dict[str, Any]:
    pool = ops.service.pool
    stuck = await api.stuck(ops, visitor.caller, limit=_COUNTED)
    causes = await letters.list_causes(pool)
    heads = await audit.find_heads(pool)
    return {
        "stuck": stuck,
        "many": len(stuck) == _COUNTED,
        "shown": _SHOWN,
        "refused": await orders.list_refused(pool, _COUNTED),
        "most": _COUNTED,
        "causes": causes,
        "parked": sum(row["messages"] for row in causes),
        "waiting": sum(row["waiting"] for row in causes),
        "records": sum(head.length for head in heads.values()),
        "chains": len(heads),
        "trail": (await audit.find_tail(pool, 8))[::-1],
        "statuses": await orders.count_statuses(pool, id_at(utc_now() - _DAY)),
        "stuck_after": ops.settings.stuck_after_seconds,
    }
