"""Many orders at once: what was asked, a form that asks once, and a result for each order."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from services.ops import bulk
from services.ops.access import Task, task_of
from services.ops.console.forms import (
    Problems,
    incomplete,
    is_taken,
    read_id,
    read_reason,
    read_restock,
    uuid_of,
)
from services.ops.console.pages import page
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.ops import Ops, TheOps
from services.ops.routes import bulks as api
from services.ops.store import bulks, orders

router = APIRouter()

PAGE = 50
MOST_ORDERS = 200
"""A form has no more fields than the session reads; a page of orders has fewer."""


@router.get("/bulks")
async def list_bulks(request: Request, ops: TheOps, visitor: Reader, before: str = "") -> Response:
    last = uuid_of(before)
    rows = await bulks.list_bulks(ops.service.pool, last, PAGE + 1)
    return page(
        request,
        visitor,
        "bulks.html",
        bulks=rows[:PAGE],
        newest=last is None,
        older=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
    )


@router.get("/bulks/new")
async def choose(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    action: bulk.Action,
    order: Annotated[list[UUID] | None, Query(max_length=MOST_ORDERS)] = None,
) -> Response:
    """What was chosen in the list of orders, to be confirmed."""
    return await _form_page(request, ops, visitor, action, order or [])


@router.post("/bulks")
async def ask(
    request: Request, ops: TheOps, form: Annotated[Form, Depends(FormTo(Task.MOVE_ORDERS))]
) -> Response:
    """Leads to the bulk's own page; sent again, to the same one."""
    problems: Problems = {}
    chosen, action, wanted = read_id(form), _action(form), _orders(form)
    reason = read_reason(form, problems)
    if not problems:
        body = api.Request(
            action=action, order_ids=wanted, restock=read_restock(form), reason=reason
        )
        if await is_taken(api.ask(ops, form.visitor.caller, chosen, body), problems):
            return RedirectResponse(f"/console/bulks/{chosen}", 303)
    return await _form_page(request, ops, form.visitor, action, wanted, form, problems)


@router.get("/bulks/{bulk_id}")
async def show_bulk(request: Request, ops: TheOps, visitor: Reader, bulk_id: UUID) -> Response:
    """What came of it; asked again by the page, which shows also what the orders become later."""
    found = await api.show(ops, visitor.caller, bulk_id)
    part = "HX-Request" in request.headers
    return page(
        request,
        visitor,
        "bulk_now.html" if part else "bulk.html",
        bulk=found,
        open=sum(row["outcome"] == "waiting" for row in found["orders"]),
        refused=sum(row["outcome"] == "refused" for row in found["orders"]),
        heading=_heading(bulk.Action(found["action"]), len(found["orders"])),
    )


def _action(form: Form) -> bulk.Action:
    try:
        return bulk.Action(form.text("action"))
    except ValueError:
        raise incomplete() from None


def _orders(form: Form) -> list[UUID]:
    found = [uuid_of(each) for each in form.fields.get("order", [])]
    wanted = [each for each in found if each is not None]
    if not 0 < len(wanted) == len(found) <= MOST_ORDERS:
        raise incomplete()
    return wanted


def _heading(action: bulk.Action, count: int) -> str:
    orders = f"{count} order{'s' if count != 1 else ''}"
    match action:
        case bulk.Action.CANCEL:
            return f"Cancel {orders}"
        case bulk.Action.RETRY:
            return f"Retry {orders} now"
        case bulk.Action.REFUND:
            return f"Refund {orders}"
        case bulk.Action.RETRY_REFUND:
            return f"Ask Stripe again to refund {orders}"
        case bulk.Action.SETTLE_REFUND:
            return f"Settle the refund of {orders} outside Stripe"
        case _:
            return f"Move {orders} to {action.value}"


async def _form_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    action: bulk.Action,
    wanted: list[UUID],
    form: Form | None = None,
    problems: Problems | None = None,
) -> Response:
    """`form` is one that was not taken: shown again with what was written, and a new id."""
    problems = problems or {}
    found: list[Any] = await orders.find_orders(ops.service.pool, wanted)
    return page(
        request,
        visitor,
        "bulk_new.html",
        status=422 if form else 200,
        action=action,
        task=task_of(action),
        orders=found,
        unknown=len(set(wanted)) - len(found),
        heading=_heading(action, len(found)),
        new_id=new_message_id(),
        written={name: form.text(name) if form else "" for name in ("reason", "restock")},
        problems={name: problems.get(name, "") for name in ("id", "reason")},
    )
