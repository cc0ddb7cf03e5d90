"""Many orders at once, by command, with a result for each."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from services.kit.auth import Caller
from services.kit.problems import ApiProblem
from services.ops import bulk
from services.ops.access import May, Task, demand, task_of
from services.ops.asking import OtherRequest, Reason, UnusableId
from services.ops.bulk import Action, UnknownOrders
from services.ops.ops import TheOps, Viewer
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
    reason: Reason


@router.put("/{bulk_id}", status_code=202, summary="Have something done to many orders")
async def ask(
    ops: TheOps,
    caller: Annotated[Caller, Depends(May(Task.MOVE_ORDERS))],
    bulk_id: UUID,
    body: Request,
) -> Json:
    """Once for each id: a UUIDv7 that the caller makes. Each order is taken or refused by itself;
    its `outcome` changes from `waiting` when the order service has answered: ask with GET. To
    cancel and to refund need the role admin."""
    demand(caller, task_of(body.action))
    wanted = Bulk(bulk_id, body.action, body.restock, caller.customer_id, body.reason)
    try:
        async with ops.service.transaction(publish="later") as work:
            return await bulk.ask(work, wanted, body.order_ids)
    except UnusableId as error:
        raise ApiProblem(422, f"bulk_id: {error}") from None
    except UnknownOrders as error:
        raise ApiProblem(404, f"No topic has told of these orders: {error}") from None
    except OtherRequest as error:
        raise ApiProblem(409, str(error)) from None


@router.get("/{bulk_id}", summary="What came of a bulk")
async def show(ops: TheOps, _caller: Viewer, bulk_id: UUID) -> Json:
    """Each order with its `outcome`: `waiting`, `accepted`, `refused` with a `problem`, or `nothing
    to do`; and with its status as last published, which may go on changing."""
    async with ops.service.pool.acquire() as db:
        found = await bulk.look(db, bulk_id)
    if not found:
        raise ApiProblem(404, f"nobody has asked here for the bulk {bulk_id}")
    return found
