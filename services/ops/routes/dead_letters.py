"""Parked messages: what is parked, why, what waits behind it; replayed and discarded by command."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from contracts.topics import OPERATIONS
from services.kit.auth import Caller
from services.kit.problems import ApiProblem
from services.ops.access import May, Task
from services.ops.asking import Reason
from services.ops.ops import TheOps, Viewer
from services.ops.parked import Operation, ask
from services.ops.store import letters, operations

router = APIRouter(prefix="/v1", tags=["dead letters"])

Json = dict[str, Any]
AT_ONCE = 100
_SHOWN_BEHIND = 50


class LetterName(BaseModel):
    service: Literal[tuple(OPERATIONS)]  # type: ignore[valid-type]
    parked_id: Annotated[int, Field(ge=1, lt=2**63)]


class Request(BaseModel):
    letters: Annotated[list[LetterName], Field(min_length=1, max_length=AT_ONCE)]
    reason: Reason


class Result(BaseModel):
    service: str
    parked_id: int
    operation_id: UUID | None
    """Ask for it at /v1/operations."""
    problem: str | None


@router.get("/dead-letters/causes", summary="What is parked, by cause")
async def causes(ops: TheOps, _caller: Viewer) -> list[Json]:
    return [dict(row) for row in await letters.list_causes(ops.service.pool)]


@router.get("/dead-letters", summary="List parked messages")
async def list_letters(
    ops: TheOps,
    _caller: Viewer,
    service: str | None = None,
    everything: Annotated[bool, Query(description="closed ones, too")] = False,
    after_service: str = "",
    after_id: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[Json]:
    """In the order of service and number; the next page begins after the last of this one."""
    rows = await letters.list_letters(
        ops.service.pool, service, everything, (after_service, after_id), limit
    )
    return [dict(row) for row in rows]


@router.get("/dead-letters/{service}/{parked_id}", summary="One parked message")
async def show_letter(ops: TheOps, _caller: Viewer, service: str, parked_id: int) -> Json:
    """With what waits behind it. Its payload stays with its service."""
    async with ops.service.pool.acquire() as db:
        found = await letters.find_letters(db, [(service, parked_id)])
    if not found:
        raise ApiProblem(404, f"{service} has announced no parked message {parked_id}")
    behind = await letters.find_waiting(ops.service.pool, found[0], _SHOWN_BEHIND)
    return {**found[0], "behind": [dict(row) for row in behind]}


@router.post("/dead-letters/replay", status_code=202, summary="Have messages handled again")
async def replay(
    ops: TheOps, caller: Annotated[Caller, Depends(May(Task.REPLAY))], body: Request
) -> list[Result]:
    """One result for each: a command that was sent, or why none was."""
    return await _ask(ops, "replay", caller.customer_id, body)


@router.post("/dead-letters/discard", status_code=202, summary="Close messages unhandled")
async def discard(
    ops: TheOps, caller: Annotated[Caller, Depends(May(Task.DISCARD))], body: Request
) -> list[Result]:
    """One result for each: a command that was sent, or why none was."""
    return await _ask(ops, "discard", caller.customer_id, body)


@router.get("/operations", summary="What came of operations")
async def show_operations(
    ops: TheOps,
    _caller: Viewer,
    operation_id: Annotated[list[UUID], Query(alias="id", min_length=1, max_length=AT_ONCE)],
) -> list[Json]:
    rows = await operations.find_operations(ops.service.pool, operation_id)
    return [dict(row) for row in rows]


async def _ask(ops: TheOps, operation: Operation, by: str, body: Request) -> list[Result]:
    wanted = [(letter.service, letter.parked_id) for letter in body.letters]
    async with ops.service.transaction(publish="later") as work:
        asked = await ask(work, operation, wanted, by=by, reason=body.reason)
    return [Result(**_fields(each)) for each in asked]


def _fields(asked: Any) -> Json:
    return {name: getattr(asked, name) for name in Result.model_fields}
