"""Staff want the next try of an order now: the next sweep brings it, or they are told why not."""

from uuid import UUID

import pytest

from contracts.audit import OrderWaits
from contracts.order import CancelOrder, CommandRefused, RetryOrder
from contracts.payment import PaymentIntentCreated, PaymentSucceeded
from services.kit.work import Work
from services.order.sweeper import sweep_deadlines
from tests.order.conftest import Desk, place, reserved


def retry(order_id: UUID) -> RetryOrder:
    return RetryOrder(order_id=order_id, requested_by="naledi", reason="inventory is back")


async def sweep(desk: Desk) -> list[str]:
    """What the sweeper sends."""
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await sweep_deadlines(work, desk.handlers)
    return [message.type for message in work.outgoing]


async def test_the_next_try_comes_with_the_next_sweep(desk: Desk) -> None:
    await desk.hear(order := place())
    assert await sweep(desk) == []
    await desk.hear(retry(order.order_id))
    (sent,) = desk.sent
    told = OrderWaits.model_validate_json(sent.payload)
    assert (told.requested_by, told.reason, told.rounds) == ("naledi", "inventory is back", 0)
    assert told.next_try_at == told.at
    assert sent.causation_id is not None
    assert await sweep(desk) == ["inventory.reserve-stock.v1", "audit.order-waits.v1"]
    assert await sweep(desk) == []


async def test_asked_twice_it_is_one_try(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.hear(retry(order.order_id))
    await desk.hear(retry(order.order_id))
    assert (await sweep(desk)).count("inventory.reserve-stock.v1") == 1
    assert await sweep(desk) == []
    assert await desk.db.fetchval("SELECT rounds FROM orders") == 1


async def test_who_cancelled_an_order_stays_its_author(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.hear(CancelOrder(order_id=order.order_id, requested_by="anna", reason="oops"))
    await desk.hear(retry(order.order_id))
    await sweep(desk)
    row = await desk.db.fetchrow("SELECT updated_by, reason, version FROM orders")
    assert row is not None
    assert tuple(row) == ("anna", "oops", 2)


async def test_an_order_that_waits_for_no_service_is_left_alone(desk: Desk) -> None:
    await desk.hear(order := place())
    order_id = order.order_id
    await desk.hear(reserved(order_id))
    await desk.hear(
        PaymentIntentCreated(
            order_id=order_id, payment_intent_id="pi_1", client_secret="s", intent_status="x"
        )
    )
    before = await desk.db.fetchval("SELECT deadline_at FROM orders")
    await desk.hear(retry(order_id))
    (sent,) = desk.sent
    refused = CommandRefused.model_validate_json(sent.payload)
    assert refused.reason == "it waits for the customer: it is awaiting_payment"
    assert await desk.db.fetchval("SELECT deadline_at FROM orders") == before

    await desk.hear(
        PaymentSucceeded(order_id=order_id, payment_intent_id="pi_1", amount=12000, currency="zar")
    )
    await desk.hear(retry(order_id))
    refused = CommandRefused.model_validate_json(desk.sent[0].payload)
    assert (refused.reason, refused.status) == (
        "it waits for no answer: it is confirmed",
        "confirmed",
    )
    assert await desk.db.fetchval("SELECT deadline_at FROM orders") is None


async def test_an_order_that_nobody_placed_is_for_a_person(desk: Desk) -> None:
    await desk.hear(retry(place().order_id))
    assert desk.sent == []
    assert "there is no order" in desk.parked[0]


@pytest.mark.parametrize("count", [5, 50])
async def test_many_retries_are_two_statements(desk: Desk, count: int) -> None:
    await desk.hear(*(orders := [place() for _ in range(count)]))
    await desk.hear(*[retry(order.order_id) for order in orders])
    await desk.hear(*[retry(order.order_id) for order in orders])  # now types are known
    assert desk.statements == 2
