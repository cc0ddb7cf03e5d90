"""Orders: found by id, customer, PaymentIntent, status and time; and one of them with its story."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from contracts.order import OrderStatus
from services.kit.problems import ApiProblem
from services.ops.console.pages import page
from services.ops.console.sequence import draw, numbers
from services.ops.console.session import Action, Reader, Visitor
from services.ops.console.words import id_at
from services.ops.noting import LONGEST_NOTE
from services.ops.ops import Ops, TheOps
from services.ops.routes import notes
from services.ops.routes import orders as api
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
) -> Response:
    """`q` is an order's id, a PaymentIntent's, or a customer's; the first two lead to the order."""
    q = q.strip()
    if found := await _one(ops, q):
        return RedirectResponse(f"/console/orders/{found}", 303)
    problems = dict.fromkeys(("q", "status", "from", "to"), "")
    chosen = _status(status, problems)
    earliest = _time(since, "from", problems)
    latest = _time(until, "to", problems)
    last = _uuid(before)
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
        older=urlencode(query | {"before": rows[-1]["order_id"]}) if more else None,
    )


@router.get("/orders/{order}")
async def show_order(request: Request, ops: TheOps, visitor: Reader, order: str) -> Response:
    return await _order_page(request, ops, visitor, order)


@router.post("/orders/{order}/notes")
async def write_note(request: Request, ops: TheOps, form: Action, order: str) -> Response:
    """The form has an id: sent twice, the note is there once."""
    text = form.text("text").replace("\r\n", "\n")
    if not 0 < len(text) <= LONGEST_NOTE:
        problem = f"Write something, in at most {LONGEST_NOTE} characters"
        return await _order_page(request, ops, form.visitor, order, problem=problem, text=text)
    note_id = _uuid(form.text("id"))
    if note_id is None:
        raise ApiProblem(404, "There is nothing at this address")
    await notes.write(ops, form.visitor.caller, order, note_id, notes.Request(text=text))
    return RedirectResponse(f"/console/orders/{quote(order)}#notes", 303)


@router.get("/orders/{order}/now")
async def show_order_now(request: Request, ops: TheOps, visitor: Reader, order: str) -> Response:
    """The part of its page that changes."""
    return page(request, visitor, "order_now.html", **await _story(ops, visitor, order))


async def _order_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    order: str,
    *,
    problem: str | None = None,
    text: str = "",
) -> Response:
    return page(
        request,
        visitor,
        "order.html",
        status=422 if problem else 200,
        new_id=new_message_id(),
        longest=LONGEST_NOTE,
        problem=problem,
        text=text,
        **await _story(ops, visitor, order),
    )


async def _story(ops: Ops, visitor: Visitor, name: str) -> dict[str, Any]:
    order = await api.show_order(ops, visitor.caller, name)
    subject = str(order["order_id"])
    trace = await api.trace(ops, visitor.caller, subject)
    return {
        "order": order,
        "trace": trace,
        "numbers": numbers(trace),
        "diagram": draw(trace, order["audit"]),
        "cut": len(trace) >= api.MOST_OF_AN_ORDER,
    }


async def _one(ops: Ops, q: str) -> UUID | None:
    if q.startswith("pi_"):
        return await orders.find_order_of_intent(ops.service.pool, q)
    order_id = _uuid(q)
    found = await orders.find_order(ops.service.pool, order_id) if order_id else None
    return found["order_id"] if found else None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _status(text: str, problems: dict[str, str]) -> str | None:
    if not text or text in [*OrderStatus]:
        return text or None
    problems["status"] = "There is no such status"
    return None


def _time(text: str, name: str, problems: dict[str, str]) -> datetime | None:
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
