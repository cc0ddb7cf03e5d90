"""Refunds that Stripe refused for good: a list, and a page for the decision about each."""

from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from services.kit.problems import ApiProblem
from services.ops.access import Task
from services.ops.bulk import Action
from services.ops.console.forms import Problems, is_taken, read_id, read_reason, read_restock
from services.ops.console.pages import page
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.console.words import minor_units, money
from services.ops.ops import Ops, TheOps
from services.ops.routes import bulks
from services.ops.routes import orders as api
from services.ops.store import orders

router = APIRouter()

MOST = 200
_FIELDS = ("amount", "restock", "reason")


@router.get("/refunds")
async def list_refused(
    request: Request, ops: TheOps, visitor: Reader, part: bool = False
) -> Response:
    rows = await orders.list_refused(ops.service.pool, MOST)
    template = "refunds_now.html" if part else "refunds.html"
    return page(request, visitor, template, refunds=rows, most=MOST)


@router.get("/refunds/{order}")
async def show_refused(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    order: UUID,
    asked: Annotated[UUID | None, Query(description="what was asked for")] = None,
    part: bool = False,
) -> Response:
    """What Stripe refused, and what came of the decision."""
    template = "refund_asked.html" if part else "refund.html"
    return await _refund_page(request, ops, visitor, order, template=template, asked=asked)


@router.post("/refunds/{order}/retry")
async def retry(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.REFUND_ORDERS))],
    order: UUID,
) -> Response:
    """Stripe is asked again; sent twice, it is asked once."""
    problems: Problems = {}
    chosen, reason = read_id(form), read_reason(form, problems)
    body: dict[str, Any] = {"action": Action.RETRY_REFUND, "order_ids": [order], "reason": reason}
    return await _decide(request, ops, form, order, "retry", chosen, body, problems)


@router.post("/refunds/{order}/settle")
async def settle(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.REFUND_ORDERS))],
    order: UUID,
) -> Response:
    """Staff gave the money back outside Stripe; sent twice, it counts once."""
    found = await api.show_order(ops, form.visitor.caller, str(order))
    problems: Problems = {}
    chosen, reason = read_id(form), read_reason(form, problems)
    amount = _amount(form, found, problems)
    body: dict[str, Any] = {
        "action": Action.SETTLE_REFUND,
        "order_ids": [order],
        "amount": amount,
        "restock": read_restock(form),
        "reason": reason,
    }
    return await _decide(request, ops, form, order, "settle", chosen, body, problems)


def _amount(form: Form, order: dict[str, Any], problems: Problems) -> int:
    most, currency = order["refused_amount"] or 0, order["currency"] or "zar"
    amount = minor_units(form.text("amount"), currency)
    if amount is None or amount > most:
        problems["amount"] = f"Write an amount from 0.00 to {money(most, currency)}"
    return amount or 0


async def _decide(
    request: Request,
    ops: Ops,
    form: Form,
    order: UUID,
    which: str,
    chosen: UUID,
    body: dict[str, Any],
    problems: Problems,
) -> Response:
    if not problems:
        asking = bulks.ask(ops, form.visitor.caller, chosen, bulks.Request(**body))
        if await is_taken(asking, problems):
            return RedirectResponse(f"/console/refunds/{order}?{urlencode({'asked': chosen})}", 303)
    return await _refund_page(
        request, ops, form.visitor, order, form=form, which=which, problems=problems
    )


async def _refund_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    order_id: UUID,
    *,
    template: str = "refund.html",
    asked: UUID | None = None,
    form: Form | None = None,
    which: str = "",
    problems: Problems | None = None,
) -> Response:
    """`which` of the two forms was not taken: shown again with what was written, and a new id."""
    order = await api.show_order(ops, visitor.caller, str(order_id))
    outcome: dict[str, Any] | None = None
    if asked:
        found = await bulks.show(ops, visitor.caller, asked)
        own = [row for row in found["orders"] if row["order_id"] == order_id]
        if not own:
            raise ApiProblem(404, "That was asked of other orders")
        outcome = {**found, **own[0]}
    return page(
        request,
        visitor,
        template,
        status=422 if problems else 200,
        order=order,
        asked=outcome,
        which=which,
        new_ids={name: new_message_id() for name in ("retry", "settle")},
        written={name: form.text(name) if form else "" for name in _FIELDS},
        problems={name: (problems or {}).get(name, "") for name in ("id", *_FIELDS)},
    )
