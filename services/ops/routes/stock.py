"""Stock: the report, a product's history, and adjustments by command."""

from datetime import date, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from contracts.inventory import MAX_STOCK, AdjustStock
from services.kit.auth import Caller
from services.kit.messages import storable
from services.kit.problems import ApiProblem
from services.kit.work import utc_now
from services.ops.access import May, Task
from services.ops.adjusting import ask
from services.ops.asking import Reason
from services.ops.movements import cover, history
from services.ops.ops import Ops, TheOps, Viewer
from services.ops.routes.chosen import chosen
from services.ops.store import adjustments, stock

router = APIRouter(prefix="/v1/stock", tags=["stock"])

COVER_DAYS = 28
"""Four weeks: each day of the week counts alike."""
LONGEST_HISTORY = 366
_SHOWN_ADJUSTMENTS = 20

Json = dict[str, Any]


class Request(BaseModel):
    product_id: UUID
    delta: Annotated[int, Field(ge=-MAX_STOCK, le=MAX_STOCK, strict=True, description="not 0")]
    reason: Reason


@router.get("", summary="Stock of each product, and for how many days it will do")
async def report(
    ops: TheOps,
    _caller: Viewer,
    search: Annotated[
        str | None, Query(max_length=200, description="part of the name, or an id")
    ] = None,
    low: Annotated[bool, Query(description="only what is low")] = False,
    after: Annotated[UUID | None, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Json]:
    """In the order of ids. `level` can be ordered, `held` waits for its payment, `sold` is paid.
    `unrecorded` is what no movement explains: opening stock, changes by plain SQL, or records that
    are still on their way. `days_of_cover` is the level by `sold_per_day`, the mean of the last 28
    days, or since the first movement, without what came back; null when nothing was sold."""
    return await _report(ops, search=search, low_only=low, after=after, limit=limit)


@router.put(
    "/adjustments/{adjustment_id}", status_code=202, summary="Have a product's stock adjusted"
)
async def adjust(
    ops: TheOps,
    caller: Annotated[Caller, Depends(May(Task.ADJUST_STOCK))],
    adjustment_id: UUID,
    body: Request,
) -> Json:
    """`delta` is added, once for each id: a UUIDv7 that the caller makes. The outcome is there
    when `answered_at` is; ask with GET."""
    if body.delta == 0:
        raise ApiProblem(422, "delta: it changes nothing")
    command = AdjustStock(
        product_id=body.product_id,
        requested_by=caller.customer_id,
        delta=body.delta,
        reason=body.reason,
    )
    with chosen("adjustment_id"):
        async with ops.service.transaction(publish="later") as work:
            return await ask(work, adjustment_id, command)


@router.get("/adjustments/{adjustment_id}", summary="What came of an adjustment")
async def show_adjustment(ops: TheOps, _caller: Viewer, adjustment_id: UUID) -> Json:
    """Not answered yet, done (`level` is the stock then), or refused with a `problem`."""
    async with ops.service.pool.acquire() as db:
        found = await adjustments.find_adjustment(db, adjustment_id)
    if found is None:
        raise ApiProblem(404, f"nobody has asked here for the adjustment {adjustment_id}")
    return dict(found)


@router.get("/{product_id}", summary="One product's stock over time")
async def show_product(
    ops: TheOps,
    _caller: Viewer,
    product_id: UUID,
    days: Annotated[int, Query(ge=1, le=LONGEST_HISTORY)] = COVER_DAYS,
) -> Json:
    """With each day (UTC) to today: the level at its end, and what moved."""
    rows = await _report(ops, product_id=product_id)
    if not rows:
        raise ApiProblem(404, f"no topic has told of a product {product_id}")
    today = _today()
    first = today - timedelta(days=days - 1)
    cells = {
        (row["day"], row["kind"]): row["quantity"]
        for row in await stock.find_days(ops.service.pool, product_id, first)
    }
    asked = await adjustments.find_of_product(ops.service.pool, product_id, _SHOWN_ADJUSTMENTS)
    return {
        **rows[0],
        "history": [day._asdict() for day in history(rows[0]["level"], cells, first, today)],
        "adjustments": [dict(row) for row in asked],
    }


def _today() -> date:
    return utc_now().date()


async def _report(
    ops: Ops,
    *,
    search: str | None = None,
    low_only: bool = False,
    product_id: UUID | None = None,
    after: UUID | None = None,
    limit: int = 1,
) -> list[Json]:
    today = _today()
    rows = await stock.report(
        ops.service.pool,
        low_at=ops.settings.low_stock,
        low_only=low_only,
        search=None if search is None else storable(search),
        product_id=product_id,
        after=after,
        since=today - timedelta(days=COVER_DAYS - 1),
        limit=limit,
    )
    return [_with_cover(dict(row), today) for row in rows]


def _with_cover(row: Json, today: date) -> Json:
    first, sold = row.pop("first_day"), row.pop("sold_lately")
    days = min(COVER_DAYS, (today - first).days + 1) if first else COVER_DAYS
    per_day = max(sold, 0) / max(days, 1)
    return {
        **row,
        "sold_per_day": round(per_day, 2),
        "days_of_cover": cover(row["level"], per_day),
    }
