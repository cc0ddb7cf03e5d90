"""Orders as they are, what they went through, and those that wait for an answer."""

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from contracts.order import OrderStatus
from services.kit.db import Pool
from services.kit.problems import ApiProblem
from services.kit.work import utc_now
from services.ops.ops import TheOps, Viewer
from services.ops.routes.parameters import Named, Seconds, Text
from services.ops.rules import WAITS_FOR, mask
from services.ops.store import audit, letters, notes, operations, orders, sagas, timeline

router = APIRouter(prefix="/v1", tags=["orders"])

MOST_OF_AN_ORDER = 1000
"""Messages, records and parked messages of one order that are shown."""

Json = dict[str, Any]
Limit = Annotated[int, Query(ge=1, le=500)]


@router.get("/orders", summary="List orders, the newest first")
async def list_orders(
    ops: TheOps,
    _caller: Viewer,
    status: OrderStatus | None = None,
    customer_id: Text | None = None,
    before: Annotated[UUID | None, Query(description="the last id of the page before")] = None,
    limit: Limit = 50,
) -> list[Json]:
    rows = await orders.list_orders(ops.service.pool, status, customer_id, before, limit)
    return [dict(row) for row in rows]


@router.get("/orders/{order}", summary="One order: its state, its audit, what is parked, notes")
async def show_order(ops: TheOps, _caller: Viewer, order: Named) -> Json:
    """By its id, or by the id of its PaymentIntent."""
    pool = ops.service.pool
    found = await find(pool, order)
    subject = str(found["order_id"])
    return {
        **found,
        "waits_for": WAITS_FOR.get(found["saga_state"] or ""),
        "audit": [
            dict(row) for row in await audit.find_of_subject(pool, subject, MOST_OF_AN_ORDER)
        ],
        "parked": [dict(row) for row in await letters.find_of_order(pool, subject, 100)],
        "notes": [
            dict(row)
            for row in await notes.find_of_order(pool, found["order_id"], MOST_OF_AN_ORDER)
        ],
    }


@router.get("/orders/{order}/trace", summary="All messages of an order, with their causes")
async def trace(ops: TheOps, _caller: Viewer, order: Named) -> list[Json]:
    """The oldest first. `causation_id` is the `message_id` of the message that led to it; what
    people asked to be done with parked messages is among them."""
    pool = ops.service.pool
    found = await find(pool, order)
    subject, intent = str(found["order_id"]), found["payment_intent_id"]
    rows = await timeline.find_messages(
        pool, [subject, intent] if intent else [subject], MOST_OF_AN_ORDER
    )
    asked = await operations.find_of_order(pool, subject, MOST_OF_AN_ORDER)
    return sorted([*map(dict, rows), *map(_as_message, asked)], key=lambda entry: entry["sent_at"])


@router.get("/sagas", summary="Orders that wait for another service's answer")
async def list_sagas(
    ops: TheOps,
    _caller: Viewer,
    state: Annotated[list[str] | None, Query(description="only in these saga states")] = None,
    limit: Limit = 100,
) -> list[Json]:
    """The longest waiting first: whose answer, how many rounds brought none, when the next try is
    (null before the first round is over), and how many of its messages are parked. First those that
    cannot be advanced: `stuck_reason` says why."""
    states = [each for each in WAITS_FOR if state is None or each in state]
    return await _waiting(ops.service.pool, states, utc_now(), limit, failing=state is None)


@router.get("/sagas/stuck", summary="Orders that wait for an answer, the longest waiting first")
async def stuck(
    ops: TheOps,
    _caller: Viewer,
    seconds: Annotated[
        Seconds | None, Query(description="how long at least; STUCK_AFTER_SECONDS if not said")
    ] = None,
    limit: Limit = 100,
) -> list[Json]:
    """With the service that owes it, and how many of the order's messages are parked. First those
    that cannot be advanced, however long: `stuck_reason` says why."""
    least = ops.settings.stuck_after_seconds if seconds is None else seconds
    since = utc_now() - timedelta(seconds=least)
    return await _waiting(ops.service.pool, list(WAITS_FOR), since, limit, failing=True)


@router.get("/refunds/refused", summary="Refunds that Stripe refused for good: staff decide")
async def list_refused_refunds(ops: TheOps, _caller: Viewer, limit: Limit = 100) -> list[Json]:
    """The longest waiting first, each with Stripe's reason and the amount, in minor units. Try
    again or settle outside with PUT /v1/bulks/{id}: `retry_refund`, `settle_refund`."""
    return [dict(row) for row in await orders.list_refused(ops.service.pool, limit)]


async def _waiting(
    pool: Pool, states: list[str], since: datetime, limit: int, *, failing: bool
) -> list[Json]:
    rows = await sagas.list_stuck(pool, states, since, limit, failing=failing)
    return [{**row, "waits_for": WAITS_FOR.get(row["saga_state"] or "")} for row in rows]


async def find(pool: Pool, name: str) -> Json:
    """The order of an id or of a PaymentIntent.

    Raises:
        ApiProblem: 404.
    """
    order_id: UUID | None
    try:
        order_id = UUID(name)
    except ValueError:
        order_id = await orders.find_order_of_intent(pool, name)
    row = await orders.find_order(pool, order_id) if order_id else None
    if row is None:
        raise ApiProblem(404, "There is no such order here; it may not have been heard of yet")
    return dict(row)


def _as_message(operation: Any) -> Json:
    """What a person asked for, as the message that was sent."""
    return {
        "topic": f"{operation['service']}.operations",
        "partition": None,
        "offset": None,
        "message_id": operation["id"],
        "causation_id": None,
        "key": f"{operation['service']}-{operation['parked_id']}",
        "type": f"operations.{operation['operation']}-parked.v1",
        "source": "ops",
        "sent_at": operation["requested_at"],
        "summary": f"parked_id {operation['parked_id']}, requested_by "
        f"{mask(operation['requested_by'])!r}, reason {mask(operation['reason'])!r}",
    }
