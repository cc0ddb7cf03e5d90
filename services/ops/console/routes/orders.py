"""Orders: found by id, customer, PaymentIntent, status and time; and one of them with its story."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from contracts.order import OrderStatus, PaymentStatus
from services.kit.problems import ApiProblem
from services.ops import bulk
from services.ops.access import Task, can, task_of
from services.ops.console.forms import (
    Problems,
    not_taken,
    read_id,
    read_reason,
    read_restock,
    uuid_of,
)
from services.ops.console.pages import page
from services.ops.console.sequence import draw, numbers
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.console.words import id_at, minor_units, money
from services.ops.noting import LONGEST_NOTE
from services.ops.ops import Ops, TheOps
from services.ops.routes import bulks, notes
from services.ops.routes import orders as api
from services.ops.store import orders

router = APIRouter()

PAGE = 50
_HOLDS_MONEY = frozenset({PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED})
_REFUND_FIELDS = ("how", "amount", "restock", "reason")


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
    problems = dict.fromkeys(("q", "status", "from", "to"), "")
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


@router.get("/orders/{order}")
async def show_order(request: Request, ops: TheOps, visitor: Reader, order: str) -> Response:
    return await _order_page(request, ops, visitor, order)


@router.post("/orders/{order}/notes")
async def write_note(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.WRITE_NOTES))],
    order: str,
) -> Response:
    """Sent twice, the note is there once."""
    note_id, text = read_id(form), form.text("text").replace("\r\n", "\n")
    if not 0 < len(text) <= LONGEST_NOTE:
        problems = {"text": f"Write something, in at most {LONGEST_NOTE} characters"}
        return await _order_page(request, ops, form.visitor, order, note=text, problems=problems)
    await notes.write(ops, form.visitor.caller, order, note_id, notes.Request(text=text))
    return RedirectResponse(f"/console/orders/{quote(order)}#notes", 303)


@router.get("/orders/{order}/now")
async def show_order_now(request: Request, ops: TheOps, visitor: Reader, order: str) -> Response:
    """The part of its page that changes."""
    return page(request, visitor, "order_now.html", **await _story(ops, visitor, order))


@router.post("/orders/{order}/refund")
async def refund(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.REFUND_ORDERS))],
    order: str,
) -> Response:
    """All that is left, or a part. Leads to the page of its own; sent again, to the same one."""
    found = await api.show_order(ops, form.visitor.caller, order)
    problems: Problems = {}
    chosen, reason = read_id(form), read_reason(form, problems)
    amount = _amount(form, found, problems)
    if not problems:
        body = bulks.Request(
            action=bulk.Action.REFUND,
            order_ids=[found["order_id"]],
            # A part is money only.
            restock=read_restock(form) if amount is None else None,
            amount=amount,
            reason=reason,
        )
        try:
            await bulks.ask(ops, form.visitor.caller, chosen, body)
        except ApiProblem as error:
            problems["id"] = not_taken(error)
        else:
            return RedirectResponse(f"/console/bulks/{chosen}", 303)
    return await _order_page(request, ops, form.visitor, order, form, problems=problems)


def _amount(form: Form, order: dict[str, Any], problems: Problems) -> int | None:
    """Of a part; None is all that is left, as far as the order service knows."""
    how, written = form.text("how"), form.text("amount")
    left = _left(order)
    if how == "all" and not written:
        return None
    if how not in ("all", "part"):
        problems["how"] = "Choose one of the two"
    elif how == "all":
        problems["amount"] = "Leave it empty, or choose a part"
    elif not left:
        problems["amount"] = "Nothing is known here that could be refunded"
    else:
        amount = minor_units(written, order["currency"])
        if amount and amount <= left:
            return amount
        most = money(left, order["currency"])
        problems["amount"] = f"Write an amount such as 12.50; {most} is left"
    return None


def _left(order: dict[str, Any]) -> int:
    """What could be refunded, in minor units."""
    if order["payment_status"] not in _HOLDS_MONEY or not order["total"]:
        return 0
    total: int = order["total"]
    return max(total - (order["amount_refunded"] or 0), 0)


async def _order_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    order: str,
    refund: Form | None = None,
    note: str = "",
    problems: Problems | None = None,
) -> Response:
    """`refund` and `note` were not taken: shown again with what was written, and a new id."""
    problems = problems or {}
    story = await _story(ops, visitor, order)
    return page(
        request,
        visitor,
        "order.html",
        status=422 if problems else 200,
        **story,
        left=_left(story["order"]),
        again=refund is not None,
        new_id=new_message_id(),
        written={name: refund.text(name) if refund else "" for name in _REFUND_FIELDS},
        note=note,
        longest=LONGEST_NOTE,
        problems={name: problems.get(name, "") for name in ("id", "text", *_REFUND_FIELDS)},
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
    order_id = uuid_of(q)
    found = await orders.find_order(ops.service.pool, order_id) if order_id else None
    return found["order_id"] if found else None


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
