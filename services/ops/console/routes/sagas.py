"""Orders that wait for another service's answer, the longest waiting first; and their next try."""

from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from contracts.message import new_message_id
from services.kit.problems import ApiProblem
from services.kit.work import utc_now
from services.ops.access import Task
from services.ops.bulk import Action
from services.ops.console.forms import Problems, is_taken, read_id, read_reason
from services.ops.console.pages import page
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.ops import Ops, TheOps
from services.ops.routes import bulks
from services.ops.routes import orders as api
from services.ops.rules import WAITS_FOR
from services.ops.store.sagas import list_stuck

router = APIRouter()

MOST = 200


@router.get("/sagas")
async def list_sagas(
    request: Request, ops: TheOps, visitor: Reader, state: str = "", part: bool = False
) -> Response:
    """Of one saga state or of all in which an answer is owed; those over the limit are stuck."""
    now = utc_now()
    chosen = [state] if state in WAITS_FOR else list(WAITS_FOR)
    rows = await list_stuck(ops.service.pool, chosen, now, MOST, failing=state not in WAITS_FOR)
    since = now - timedelta(seconds=ops.settings.stuck_after_seconds)
    stuck = [row for row in rows if row["stuck_reason"] or row["saga_since"] <= since]
    return page(
        request,
        visitor,
        "sagas_now.html" if part else "sagas.html",
        sagas=[{**row, "stuck": row in stuck} for row in rows],
        stuck=len(stuck),
        failing=sum(row["stuck_reason"] is not None for row in rows),
        waits_for=WAITS_FOR,
        state=state if state in WAITS_FOR else "",
        most=MOST,
        stuck_after=ops.settings.stuck_after_seconds,
    )


@router.get("/sagas/{order}")
async def show_saga(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    order: UUID,
    asked: Annotated[UUID | None, Query(description="what was asked for")] = None,
    part: bool = False,
) -> Response:
    """How one order waits, and what came of asking for its next try."""
    template = "saga_asked.html" if part else "saga.html"
    return await _saga_page(request, ops, visitor, order, template=template, asked=asked)


@router.post("/sagas/{order}/retry")
async def retry(
    request: Request,
    ops: TheOps,
    form: Annotated[Form, Depends(FormTo(Task.RETRY_ORDERS))],
    order: UUID,
) -> Response:
    """Leads to the saga's own page; sent again, to the same one."""
    problems: Problems = {}
    chosen, reason = read_id(form), read_reason(form, problems)
    if not problems:
        body = bulks.Request(action=Action.RETRY, order_ids=[order], reason=reason)
        if await is_taken(bulks.ask(ops, form.visitor.caller, chosen, body), problems):
            return RedirectResponse(f"/console/sagas/{order}?{urlencode({'asked': chosen})}", 303)
    return await _saga_page(request, ops, form.visitor, order, problems=problems, reason=reason)


async def _saga_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    order_id: UUID,
    *,
    template: str = "saga.html",
    asked: UUID | None = None,
    problems: Problems | None = None,
    reason: str = "",
) -> Response:
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
        new_id=new_message_id(),
        problems={name: (problems or {}).get(name, "") for name in ("id", "reason")},
        reason=reason,
    )
