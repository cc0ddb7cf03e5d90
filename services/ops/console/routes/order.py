"""One order with its story, and what staff do about it: notes, refunds, and having Stripe asked."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from contracts.order import PaymentStatus
from services.ops import bulk
from services.ops.access import Task
from services.ops.console.forms import Problems, is_taken, read_id, read_reason, read_restock
from services.ops.console.pages import page
from services.ops.console.sequence import draw, numbers
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.console.words import minor_units, money
from services.ops.noting import LONGEST_NOTE
from services.ops.ops import Ops, TheOps
from services.ops.routes import bulks, notes, stripe
from services.ops.routes import orders as api

router = APIRouter()

_HOLDS_MONEY = frozenset({PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED})
_REFUND_FIELDS = ("how", "amount", "restock", "reason")


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
    problems: Problems = {}
    if not 0 < len(text) <= LONGEST_NOTE:
        problems["text"] = f"Write something, in at most {LONGEST_NOTE} characters"
    else:
        body = notes.Request(text=text)
        asking = notes.write(ops, form.visitor.caller, order, note_id, body)
        if await is_taken(asking, problems, "text"):
            return RedirectResponse(f"/console/orders/{quote(order)}#notes", 303)
    return await _order_page(request, ops, form.visitor, order, note=text, problems=problems)


@router.post("/orders/{order}/payment-check")
async def check_payment(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.CHECK_PAYMENTS))],
    order: str,
) -> Response:
    """What comes of it is on the order's page, live."""
    problems: Problems = {}
    chosen, reason = read_id(form), read_reason(form, problems)
    if not problems:
        body = stripe.Request(reason=reason)
        asking = stripe.check(ops, form.visitor.caller, order, chosen, body)
        if await is_taken(asking, problems, "reason"):
            return RedirectResponse(f"/console/orders/{quote(order)}", 303)
    problems = {"asked": problems["reason"]}
    return await _order_page(request, ops, form.visitor, order, asked=reason, problems=problems)


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
        if await is_taken(bulks.ask(ops, form.visitor.caller, chosen, body), problems):
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
    back: int = (
        (order["amount_refunded"] or 0) + order["amount_lost"] + (order["amount_settled"] or 0)
    )
    total: int = order["total"]
    return max(total - back, 0)


async def _order_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    order: str,
    refund: Form | None = None,
    note: str = "",
    asked: str = "",
    problems: Problems | None = None,
) -> Response:
    """`refund`, `note` and the reason `asked` were not taken: shown again with what was written,
    and a new id."""
    problems = problems or {}
    fields = ("id", "text", "asked", *_REFUND_FIELDS)
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
        asked=asked,
        longest=LONGEST_NOTE,
        problems={name: problems.get(name, "") for name in fields},
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
