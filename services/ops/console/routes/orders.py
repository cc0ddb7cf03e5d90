"""Orders: found by id, customer, PaymentIntent, status and time, and chosen for a bulk."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.order import OrderStatus
from services.ops import bulk
from services.ops.access import can, task_of
from services.ops.console.forms import Problems, uuid_of
from services.ops.console.pages import page
from services.ops.console.session import Reader
from services.ops.console.words import id_at
from services.ops.ops import Ops, TheOps
from services.ops.store import orders

router = APIRouter()

PAGE = 50


@router.get("/orders")
async def list_orders(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    q: Annotated[str, Query(max_length=300)] = "",
    status: str = "",
    since: Annotated[str, Query(alias="from")] = "",
    until: Annotated[str, Query(alias="to")] = "",
    before: str = "",
    all_: Annotated[str, Query(alias="all")] = "",
) -> Response:
    """`q` is an order's id, a PaymentIntent's, or a customer's; the first two lead to the order.
    `all` marks each order of the page as chosen."""
    q = q.strip()
    if found := await _one(ops, q):
        return RedirectResponse(f"/console/orders/{found}", 303)
    problems: Problems = dict.fromkeys(("q", "status", "from", "to"), "")
    chosen = _status(status, problems)
    earliest = _time(since, "from", problems)
    latest = _time(until, "to", problems)
    last = uuid_of(before)
    ends = [end for end in (last, id_at(latest) if latest else None) if end]
    rows: list[Any] = []
    right = not any(problems.values())
    if right:
        rows = await orders.list_orders(
            ops.service.pool,
            chosen,
            q or None,
            min(ends, default=None),
            PAGE + 1,
            since=id_at(earliest) if earliest else None,
        )
    asked = {"q": q, "status": status, "from": since, "to": until}
    query = {name: value for name, value in asked.items() if value}
    here = query | ({"before": before} if last else {})
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    return page(
        request,
        visitor,
        "orders.html",
        status=200 if right else 400,
        orders=rows,
        statuses=list(OrderStatus),
        asked=asked,
        searched=bool(query),
        problems=problems,
        right=right,
        first=urlencode(query) if last else None,
        here=urlencode(here),
        here_all=urlencode(here | {"all": "1"}),
        all=bool(all_),
        actions=[each for each in bulk.Action if can(visitor.caller, task_of(each))],
        older=urlencode(query | {"before": rows[-1]["order_id"]}) if more else None,
    )


async def _one(ops: Ops, q: str) -> UUID | None:
    if q.startswith("pi_"):
        return await orders.find_order_of_intent(ops.service.pool, q)
    order_id = uuid_of(q)
    found = await orders.find_order(ops.service.pool, order_id) if order_id else None
    return found["order_id"] if found else None


def _status(text: str, problems: Problems) -> str | None:
    if not text or text in [*OrderStatus]:
        return text or None
    problems["status"] = "There is no such status"
    return None


def _time(text: str, name: str, problems: Problems) -> datetime | None:
    """As a browser sends it, without an offset, in UTC."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
        id_at(at)
    except (ValueError, OverflowError):
        problems[name] = "Write a time such as 2026-11-27T14:30 (UTC)"
        return None
    return at
