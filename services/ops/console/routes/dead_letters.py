"""Parked messages: by cause, one by one, and what is done about them."""

from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from services.kit.problems import ApiProblem
from services.ops.access import Task
from services.ops.console.forms import NO_REASON, is_reason
from services.ops.console.pages import page
from services.ops.console.session import Form, FormTo, Reader, Visitor
from services.ops.ops import Ops, TheOps
from services.ops.parked import Operation
from services.ops.routes import dead_letters as api
from services.ops.store import letters, operations

router = APIRouter()

PAGE = 50
_CALLS: Final = {"replay": api.replay, "discard": api.discard}
Number = Annotated[int, Query(ge=0, lt=2**63)]


@router.get("/dead-letters")
async def list_causes(request: Request, ops: TheOps, visitor: Reader) -> Response:
    causes = await api.causes(ops, visitor.caller)
    return page(
        request,
        visitor,
        "dead_letters.html",
        causes=[{**row, "query": _group(row)} for row in causes],
    )


@router.get("/dead-letters/cause")
async def show_cause(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    service: str,
    cause: str,
    type: str = "",  # noqa: A002
    after: Number = 0,
) -> Response:
    return await _cause_page(request, ops, visitor, service, type, cause, after=after)


@router.get("/dead-letters/{service}/{parked_id}")
async def show_letter(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    service: str,
    parked_id: api.ParkedId,
) -> Response:
    return await _letter_page(request, ops, visitor, service, parked_id)


@router.get("/operations")
async def show_operations(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    operation_id: Annotated[list[UUID], Query(alias="id", min_length=1, max_length=api.AT_ONCE)],
) -> Response:
    """What came of what was asked for; asked again by the page until all is known."""
    rows = await operations.find_operations(ops.service.pool, operation_id)
    part = "HX-Request" in request.headers
    return page(
        request,
        visitor,
        "operations_now.html" if part else "operations.html",
        refused=[],
        left=0,
        group=None,
        **_outcomes(rows),
    )


@router.post("/dead-letters/replay")
async def replay(
    request: Request, ops: TheOps, form: Annotated[Form, Depends(FormTo(Task.REPLAY))]
) -> Response:
    return await _act(request, ops, form, "replay")


@router.post("/dead-letters/discard")
async def discard(
    request: Request, ops: TheOps, form: Annotated[Form, Depends(FormTo(Task.DISCARD))]
) -> Response:
    return await _act(request, ops, form, "discard")


async def _act(request: Request, ops: Ops, form: Form, operation: Operation) -> Response:
    """One message, or those of a cause that are parked: the first hundred, in order."""
    service, reason = form.text("service"), form.text("reason")
    number, cause, kind = form.text("parked_id"), form.text("cause"), form.text("type")
    problem = None if is_reason(reason) else NO_REASON
    if number:
        if problem:
            return await _letter_page(
                request, ops, form.visitor, service, _number(number), problem, operation, reason
            )
        wanted, group = [_number(number)], None
    elif operation == "discard":
        raise ApiProblem(400, "Messages are discarded one by one")
    else:
        group = _group({"service": service, "message_type": kind, "cause": cause})
        if problem:
            return await _cause_page(
                request, ops, form.visitor, service, kind, cause, problem=problem, reason=reason
            )
        rows = await letters.list_of_cause(
            ops.service.pool, service, kind or None, cause, 0, 10 * api.AT_ONCE
        )
        wanted = [row["parked_id"] for row in rows if row["state"] == "parked"]
        if not wanted:
            raise ApiProblem(404, "Nothing of this cause is parked any more")
    asked = await _CALLS[operation](
        ops, form.visitor.caller, _request(service, wanted[: api.AT_ONCE], reason)
    )
    ids = [each.operation_id for each in asked if each.operation_id]
    rows = await operations.find_operations(ops.service.pool, ids)
    return page(
        request,
        form.visitor,
        "operations.html",
        refused=[each for each in asked if each.problem],
        left=max(len(wanted) - api.AT_ONCE, 0),
        group=group,
        **_outcomes(rows),
    )


def _request(service: str, wanted: list[int], reason: str) -> api.Request:
    try:
        return api.Request.model_validate(
            {
                "letters": [{"service": service, "parked_id": number} for number in wanted],
                "reason": reason,
            }
        )
    except ValidationError:
        raise ApiProblem(404, "There is no such parked message") from None


def _number(text: str) -> int:
    if not text.isdecimal() or not 0 < (number := int(text[:20])) < 2**63:
        raise ApiProblem(404, "There is no such parked message")
    return number


def _group(row: Any) -> str:
    """The address of a cause's page, behind the question mark."""
    named = {"service": row["service"], "type": row["message_type"] or "", "cause": row["cause"]}
    return urlencode(named)


def _outcomes(rows: list[Any]) -> dict[str, Any]:
    waits = [row for row in rows if row["outcome"] is None and row["problem"] is None]
    return {
        "operations": rows,
        "ids": urlencode([("id", str(row["id"])) for row in rows]),
        "open": len(waits),
    }


async def _cause_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    service: str,
    kind: str,
    cause: str,
    *,
    after: int = 0,
    problem: str | None = None,
    reason: str = "",
) -> Response:
    rows = await letters.list_of_cause(
        ops.service.pool, service, kind or None, cause, after, PAGE + 1
    )
    group = _group({"service": service, "message_type": kind, "cause": cause})
    more = len(rows) > PAGE
    return page(
        request,
        visitor,
        "cause.html",
        status=422 if problem else 200,
        service=service,
        kind=kind,
        cause=cause,
        letters=rows[:PAGE],
        group=group,
        after=after,
        next=f"{group}&after={rows[PAGE - 1]['parked_id']}" if more else None,
        problem=problem,
        reason=reason,
        at_once=api.AT_ONCE,
    )


async def _letter_page(
    request: Request,
    ops: Ops,
    visitor: Visitor,
    service: str,
    parked_id: int,
    problem: str | None = None,
    operation: Operation | None = None,
    reason: str = "",
) -> Response:
    letter = await api.show_letter(ops, visitor.caller, service, parked_id)
    asked = await operations.find_of_order(ops.service.pool, letter["correlation_id"], 500)
    return page(
        request,
        visitor,
        "letter.html",
        status=422 if problem else 200,
        letter=letter,
        operations=[
            row for row in asked if (row["service"], row["parked_id"]) == (service, parked_id)
        ],
        group=_group(letter),
        problem=problem,
        operation=operation,
        reason=reason,
    )
