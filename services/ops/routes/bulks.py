"""Many orders at once, by command, with a result for each."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from services.kit.auth import Caller
from services.kit.problems import ApiProblem
from services.ops import bulk
from services.ops.access import May, Task, demand, task_of
from services.ops.asking import Reason
from services.ops.bulk import Action, UnknownOrders
from services.ops.ops import TheOps, Viewer
from services.ops.routes.chosen import chosen
from services.ops.store import bulks
from services.ops.store.bulks import Bulk

router = APIRouter(prefix="/v1/bulks", tags=["orders"])

MOST_ORDERS = 500

Json = dict[str, Any]


class Request(BaseModel):
    action: Action
    order_ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_ORDERS)]
    restock: Annotated[
        bool | None, Field(description="of a refund; null restocks what has not been shipped")
    ] = None
    amount: Annotated[
        int | None,
        Field(
            ge=0,
            lt=2**63,
            strict=True,
            description="of one order, in minor units: a part that is refunded, or what was given "
            "back outside Stripe",
        ),
    ] = None
    reason: Reason


@router.get("", summary="List bulks, the newest first")
async def list_bulks(
    ops: TheOps,
    _caller: Viewer,
    before: Annotated[UUID | None, Query(description="the last id of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[Json]:
    """With the number of their orders, of those that were answered, and of those refused."""
    return [dict(row) for row in await bulks.list_bulks(ops.service.pool, before, limit)]


@router.put("/{bulk_id}", status_code=202, summary="Have something done to many orders")
async def ask(
    ops: TheOps,
    caller: Annotated[Caller, Depends(May(Task.MOVE_ORDERS))],
    bulk_id: UUID,
    body: Request,
) -> Json:
    """Once for each id: a UUIDv7 that the caller makes. Each order is taken or refused by itself;
    its `outcome` changes from `waiting` when the order service has answered: ask with GET. A part
    of a refund that Stripe did not carry out becomes `refused` later. To cancel, to
    refund and to decide about refused refunds need the role admin."""
    demand(caller, task_of(body.action))
    _check_amount(body)
    wanted = Bulk(bulk_id, body.action, body.restock, caller.customer_id, body.reason, body.amount)
    with chosen("bulk_id"):
        try:
            async with ops.service.transaction(publish="later") as work:
                return await bulk.ask(work, wanted, body.order_ids)
        except UnknownOrders as error:
            raise ApiProblem(404, f"No topic has told of these orders: {error}") from None


def _check_amount(body: Request) -> None:
    """Raises ApiProblem (422)."""
    alone = len(set(body.order_ids)) == 1
    match body.action:
        case Action.SETTLE_REFUND:
            if body.amount is None or not alone:
                raise ApiProblem(
                    422, "amount: say for one order what was given back, 0 for nothing"
                )
        case Action.REFUND:
            if body.amount is not None and not (body.amount and alone):
                raise ApiProblem(422, "amount: only one order's money is refunded in part")
        case _:
            if body.amount is not None:
                raise ApiProblem(
                    422, "amount: only one order's money is refunded in part or settled"
                )


@router.get("/{bulk_id}", summary="What came of a bulk")
async def show(ops: TheOps, _caller: Viewer, bulk_id: UUID) -> Json:
    """Each order with its `outcome`: `waiting`, `accepted`, `refused` with a `problem`, or `nothing
    to do`; and with its status as last published, which may go on changing."""
    async with ops.service.pool.acquire() as db:
        found = await bulk.look(db, bulk_id)
    if not found:
        raise ApiProblem(404, f"nobody has asked here for the bulk {bulk_id}")
    return found
