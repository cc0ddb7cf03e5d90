"""Stock: the report, one product over time, and adjustments with what came of them."""

from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from contracts.inventory import MAX_STOCK
from contracts.message import new_message_id
from services.ops.access import Task
from services.ops.console.forms import Problems, is_taken, read_id, read_reason, uuid_of
from services.ops.console.pages import page
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.movements import ON_LEVEL
from services.ops.ops import Ops, TheOps
from services.ops.plot import Point, stock_svg
from services.ops.routes import stock as api

router = APIRouter()

PAGE = 50
SPANS = (28, 90, api.LONGEST_HISTORY)
Days = Annotated[int, Query(ge=1, le=api.LONGEST_HISTORY)]


@router.get("/stock")
async def report(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    q: Annotated[str, Query(max_length=200)] = "",
    low: Literal["", "true"] = "",
    after: str = "",
) -> Response:
    """`q` is a part of a name, or a product's id; `low` leaves out what there is enough of."""
    q, last = q.strip(), uuid_of(after)
    rows = await api.report(
        ops, visitor.caller, search=q or None, low=bool(low), after=last, limit=PAGE + 1
    )
    query = {name: value for name, value in {"q": q, "low": low}.items() if value}
    more = len(rows) > PAGE
    rows = rows[:PAGE]
    return page(
        request,
        visitor,
        "stock.html",
        products=rows,
        q=q,
        low=low,
        searched=bool(query),
        first=urlencode(query) if last else None,
        next=urlencode(query | {"after": rows[-1]["product_id"]}) if more else None,
    )


@router.get("/stock/{product}")
async def show_product(
    request: Request, ops: TheOps, visitor: Reader, product: UUID, days: Days = api.COVER_DAYS
) -> Response:
    return await _product_page(request, ops, visitor, product, days=days)


@router.get("/stock/{product}/now")
async def show_product_now(
    request: Request, ops: TheOps, visitor: Reader, product: UUID, days: Days = api.COVER_DAYS
) -> Response:
    """The part of its page that changes."""
    facts = await _facts(ops, visitor, product, days)
    return page(request, visitor, "product_now.html", **facts)


@router.post("/stock/{product}/adjust")
async def adjust(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.ADJUST_STOCK))],
    product: UUID,
) -> Response:
    """Leads to the adjustment's own page; sent again, to the same one."""
    problems: Problems = {}
    delta, reason, chosen = _delta(form, problems), read_reason(form, problems), read_id(form)
    if not problems:
        body = api.Request(product_id=product, delta=delta, reason=reason)
        if await is_taken(api.adjust(ops, form.visitor.caller, chosen, body), problems):
            return RedirectResponse(f"/console/stock/adjustments/{chosen}", 303)
    return await _product_page(request, ops, form.visitor, product, form=form, problems=problems)


@router.get("/stock/adjustments/{adjustment_id}")
async def show_adjustment(
    request: Request, ops: TheOps, visitor: Reader, adjustment_id: UUID
) -> Response:
    """What came of it; asked again by the page until that is known."""
    found = await api.show_adjustment(ops, visitor.caller, adjustment_id)
    part = "HX-Request" in request.headers
    return page(
        request, visitor, "adjustment_now.html" if part else "adjustment.html", adjustment=found
    )


def _delta(form: Form, problems: Problems) -> int:
    text = form.text("delta")
    digits = text.removeprefix("-").removeprefix("+")
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else 0
    if number == 0 or abs(number) > MAX_STOCK:
        problems["delta"] = f"Write how many to add, such as 5, or -5; at most {MAX_STOCK}"
    return number


async def _product_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    product: UUID,
    *,
    days: int = api.COVER_DAYS,
    form: Form | None = None,
    problems: Problems | None = None,
) -> Response:
    """`form` is one that was not taken: shown again with what was written, and a new id."""
    problems = problems or {}
    return page(
        request,
        visitor,
        "product.html",
        status=422 if form else 200,
        **await _facts(ops, visitor, product, days),
        new_id=new_message_id(),
        again=form is not None,
        written={name: form.text(name) if form else "" for name in ("delta", "reason")},
        problems={name: problems.get(name, "") for name in ("id", "delta", "reason")},
    )


async def _facts(ops: Ops, visitor: Visitor, product: UUID, days: int) -> dict[str, Any]:
    found = await api.show_product(ops, visitor.caller, product, days)
    name = found["name"] or str(product)
    points = [Point(str(day["day"]), day["level"], day["committed"]) for day in found["history"]]
    return {
        "product": found,
        "name": name,
        "plot": Markup(stock_svg(name, points)),  # noqa: S704  # escapes what it is given
        "moved": [day for day in found["history"][::-1] if any(day[kind] for kind in ON_LEVEL)],
        "kinds": list(ON_LEVEL),
        "days": days,
        "spans": SPANS,
    }
