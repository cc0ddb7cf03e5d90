"""Orders that cannot be advanced: each is isolated, shown with its reason, and retried slowly; all
others keep their deadlines."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from contracts.audit import OrderWaits
from contracts.order import RetryOrder
from contracts.payment import PaymentIntentCreated
from services.kit.work import Work
from services.order import stuck_store
from services.order.app import build
from services.order.deadlines import FIRST_RETRY, LAST_RETRY, STUCK_AFTER
from services.order.settings import OrderSettings
from services.order.sweeper import retry_stuck, sweep_deadlines
from tests.order.conftest import Desk, place, reserved

BREAKS = {
    "an unknown state": "UPDATE orders SET saga_state = 'of_a_newer_release' WHERE id = $1",
    "lines that do not validate": "UPDATE orders SET lines = '[{\"product_id\": 1}]' WHERE id = $1",
    "a status that contradicts the saga": "UPDATE orders SET status = 'confirmed' WHERE id = $1",
    "a time outside of Python's range": (
        "UPDATE orders SET created_at = '200000-01-01' WHERE id = $1"
    ),
    "a history that does not validate": """
        INSERT INTO order_status_history (order_id, new_status, changed_by, created_at)
        VALUES ($1, 'lost', 'an operator', now())
    """,
}
REASONS = {
    "an unknown state": "unknown saga state 'of_a_newer_release'",
    "lines that do not validate": "UUID",
    "a status that contradicts the saga": "'confirmed' does not fit the saga state 'reserving'",
    "a time outside of Python's range": "OverflowError",
    "a history that does not validate": "new_status",
}
LINES = '[{"product_id": "01890000-0000-7000-8000-0000000000aa", "quantity": 2, "price": 100}]'


async def sweep(desk: Desk, later: timedelta = timedelta()) -> Work:
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        work.now += later
        await sweep_deadlines(work, desk.handlers)
    return work


def waits(work: Work) -> list[OrderWaits]:
    return [
        OrderWaits.model_validate_json(sent.payload)
        for sent in work.outgoing
        if sent.type == OrderWaits.wire_type
    ]


async def many_overdue(desk: Desk, count: int) -> list[UUID]:
    orders = [place() for _ in range(count)]
    await desk.hear(*orders)
    await make_overdue(desk)
    return [order.order_id for order in orders]


async def make_overdue(desk: Desk) -> None:
    await desk.db.execute("UPDATE orders SET deadline_at = now() - interval '2 minutes'")


async def stuck_rows(desk: Desk) -> dict[UUID, Any]:
    rows = await desk.db.fetch(
        "SELECT id, stuck_since, stuck_reason, deadline_at FROM orders"
        " WHERE stuck_since IS NOT NULL"
    )
    return {row["id"]: row for row in rows}


@pytest.mark.parametrize("broken", BREAKS)
async def test_one_order_that_cannot_be_advanced_leaves_the_others_their_deadlines(
    desk: Desk, broken: str
) -> None:
    orders = await many_overdue(desk, 51)
    culprit = orders[25]
    await desk.db.execute(BREAKS[broken], culprit)
    await make_overdue(desk)
    work = await sweep(desk)
    asked_again = {sent.key for sent in work.outgoing if sent.topic == "inventory.commands"}
    assert asked_again == {str(order_id) for order_id in orders if order_id != culprit}
    (row,) = (await stuck_rows(desk)).values()
    assert row["id"] == culprit
    assert REASONS[broken] in row["stuck_reason"]
    (told,) = [told for told in waits(work) if told.stuck_reason]
    assert (told.order_id, told.stuck_reason) == (culprit, row["stuck_reason"])
    assert told.next_try_at == row["deadline_at"]
    assert not (await sweep(desk)).outgoing  # nothing is due, the culprit neither


async def test_a_change_that_the_database_refuses_is_isolated_too(desk: Desk) -> None:
    orders = await many_overdue(desk, 9)
    await desk.db.execute(
        f"ALTER TABLE orders ADD CONSTRAINT refused CHECK (id <> '{orders[4]}' OR rounds = 0"
        " AND stuck_reason IS NULL)"
    )
    work = await sweep(desk)
    assert len([m for m in work.outgoing if m.topic == "inventory.commands"]) == 8
    assert not [told for told in waits(work) if told.stuck_reason]  # not even flagged
    await desk.db.execute("ALTER TABLE orders DROP CONSTRAINT refused")
    assert {told.order_id for told in waits(await sweep(desk))} == {orders[4]}


async def test_an_order_is_retried_ever_more_slowly_and_never_given_up(desk: Desk) -> None:
    (culprit,) = await many_overdue(desk, 1)
    await desk.db.execute("UPDATE orders SET lines = '[1]'")
    pauses: list[timedelta] = []
    at = timedelta()
    for _ in range(12):
        work = await sweep(desk, at)
        row = (await stuck_rows(desk))[culprit]
        pauses.append(row["deadline_at"] - work.now)
        assert not (await sweep(desk, at)).outgoing
        at += pauses[-1]
    assert pauses[0] == FIRST_RETRY
    assert pauses == sorted(pauses)
    assert pauses[-1] == LAST_RETRY


async def test_an_order_goes_on_by_itself_once_its_row_is_valid(desk: Desk) -> None:
    (culprit,) = await many_overdue(desk, 1)
    await desk.db.execute("UPDATE orders SET lines = '[1]'")
    await sweep(desk)
    assert culprit in await stuck_rows(desk)
    await desk.db.execute("UPDATE orders SET lines = $1", LINES)
    work = await sweep(desk, FIRST_RETRY)
    assert "inventory.reserve-stock.v1" in [m.type for m in work.outgoing]
    (told,) = waits(work)
    assert told.stuck_reason is None
    assert await stuck_rows(desk) == {}


async def test_an_order_that_is_valid_again_is_still_flagged_when_nobody_answers(
    desk: Desk,
) -> None:
    await many_overdue(desk, 1)
    await desk.db.execute(
        "UPDATE orders SET rounds = $1, stuck_since = now() - interval '1 h', stuck_reason = 'x'",
        STUCK_AFTER,
    )
    work = await sweep(desk)
    (row,) = (await stuck_rows(desk)).values()
    assert (row["stuck_reason"], row["stuck_since"]) == (None, work.now)


async def test_a_deadline_that_was_set_by_sql_is_corrected(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.hear(reserved(order.order_id))
    await desk.hear(
        PaymentIntentCreated(
            order_id=order.order_id, payment_intent_id="pi_1", client_secret="s", intent_status="x"
        )
    )
    for deadline in ("now()", "'-infinity'"):
        await desk.db.execute(f"UPDATE orders SET deadline_at = {deadline}")
        await sweep(desk)
        await sweep(desk, FIRST_RETRY)
        row = await desk.db.fetchrow("SELECT * FROM orders")
        assert row is not None
        assert row["saga_state"] == "awaiting_payment"
        assert (row["deadline_at"], row["stuck_since"]) == (row["expires_at"], None)


async def test_both_kinds_of_stuck_orders_are_counted(desk: Desk) -> None:
    await many_overdue(desk, 3)
    await desk.db.execute("UPDATE orders SET stuck_since = now()")
    assert await stuck_store.count_stuck(desk.db) == (3, 0)
    await desk.db.execute(
        "UPDATE orders SET lines = '[1]' WHERE id = (SELECT id FROM orders LIMIT 1)"
    )
    await sweep(desk)
    assert await stuck_store.count_stuck(desk.db) == (2, 1)


async def test_an_operator_has_a_stuck_order_tried_at_once(desk: Desk) -> None:
    (culprit,) = await many_overdue(desk, 1)
    await desk.db.execute("UPDATE orders SET lines = '[1]'")
    await sweep(desk)
    await desk.db.execute("UPDATE orders SET lines = $1", LINES)
    await desk.hear(RetryOrder(order_id=culprit, requested_by="naledi", reason="mended"))
    told = OrderWaits.model_validate_json(desk.sent[0].payload)
    assert told.stuck_reason  # until the try has succeeded
    assert waits(await sweep(desk))[0].stuck_reason is None


async def test_a_start_tries_all_stuck_orders_again(desk: Desk) -> None:
    """A new release may be what they wait for. Those in unknown states stay with their release."""
    orders = await many_overdue(desk, 3)
    await desk.db.execute("UPDATE orders SET lines = '[1]' WHERE id = $1", orders[0])
    await desk.db.execute("UPDATE orders SET saga_state = 'newer' WHERE id = $1", orders[1])
    await make_overdue(desk)
    await sweep(desk)
    deadlines = {order_id: row["deadline_at"] for order_id, row in (await stuck_rows(desk)).items()}
    assert deadlines.keys() == set(orders[:2])
    async with desk.db.transaction():
        await retry_stuck(Work(desk.db, "order"))
    after = {order_id: row["deadline_at"] for order_id, row in (await stuck_rows(desk)).items()}
    assert after[orders[0]] < deadlines[orders[0]]
    assert after[orders[1]] == deadlines[orders[1]]


def test_the_service_tries_them_at_its_start() -> None:
    service = build(
        OrderSettings(database_url="postgresql://", kafka_bootstrap_servers="localhost:9092")
    )
    assert service._on_start == [retry_stuck]
