"""Orders in the database: what it enforces by itself, and what a batch costs it."""

import asyncpg
import pytest
from prometheus_client import REGISTRY

from contracts.audit import OrderWaits
from contracts.order import STATUS_TRANSITIONS, CancelOrder, OrderStatus, OrderUpdated
from contracts.payment import PaymentIntentCreated, PaymentSucceeded
from services.kit.work import Work
from services.order.sweeper import sweep_deadlines
from tests.messages import incoming
from tests.order.conftest import Desk, place, reserved


async def history(desk: Desk, order_id: object) -> list[tuple[str | None, str, str, str | None]]:
    rows = await desk.db.fetch(
        "SELECT * FROM order_status_history WHERE order_id = $1 ORDER BY id", order_id
    )
    return [(r["old_status"], r["new_status"], r["changed_by"], r["reason"]) for r in rows]


async def test_an_order_goes_from_placed_to_confirmed(desk: Desk) -> None:
    await desk.hear(order := place())
    assert desk.sent_types() == [
        "inventory.reserve-stock.v1",
        "order.order-updated.v1",
        "audit.order-changed.v1",
    ]
    await desk.hear(reserved(order.order_id))
    assert desk.sent_types()[0] == "payment.request-payment.v1"
    paid = PaymentSucceeded(
        order_id=order.order_id, payment_intent_id="pi_1", amount=12000, currency="zar"
    )
    await desk.hear(paid)
    view = OrderUpdated.model_validate_json(desk.sent[1].payload)
    assert (view.status, view.version, view.total) == (OrderStatus.CONFIRMED, 3, 12000)
    assert [change.new_status for change in view.history] == ["pending", "confirmed"]
    assert await history(desk, order.order_id) == [
        (None, "pending", "anna", "placed"),
        ("pending", "confirmed", "payment-service", "payment succeeded"),
    ]


async def test_what_an_event_says_of_history_is_what_the_trigger_logged(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.hear(CancelOrder(order_id=order.order_id, requested_by="anna", reason="oops"))
    view = OrderUpdated.model_validate_json(desk.sent[1].payload)
    logged = await desk.db.fetch(
        "SELECT * FROM order_status_history WHERE order_id = $1 ORDER BY id", order.order_id
    )
    told = [change.model_dump() for change in view.history]
    columns = ("old_status", "new_status", "changed_by", "reason", "created_at")
    assert told == [{name: row[name] for name in columns} for row in logged]


async def test_a_cancellation_that_overtakes_its_order_still_cancels_it(desk: Desk) -> None:
    order = place()
    await desk.hear(CancelOrder(order_id=order.order_id, requested_by="anna", reason="oops"))
    assert desk.sent == []
    await desk.hear(order)
    assert "inventory.restore-stock.v1" in desk.sent_types()
    assert (await history(desk, order.order_id))[-1] == ("pending", "cancelled", "anna", "oops")


async def test_placing_the_same_order_again_changes_nothing(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.hear(order)
    assert desk.sent == []
    assert await desk.db.fetchval("SELECT count(*) FROM order_items") == 1  # one line


async def test_a_message_about_an_unknown_order_is_parked(desk: Desk) -> None:
    await desk.hear(reserved(place().order_id))
    assert "there is no order" in desk.parked[0]


async def test_a_status_change_by_hand_is_logged_under_the_database_role(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.db.execute("UPDATE orders SET status = 'cancelled' WHERE id = $1", order.order_id)
    who = (await history(desk, order.order_id))[-1]
    assert who[:2] == ("pending", "cancelled")
    assert who[2].startswith("database:")


@pytest.mark.parametrize("old", OrderStatus)
async def test_the_database_allows_exactly_the_contracts_transitions(
    desk: Desk, old: OrderStatus
) -> None:
    await desk.hear(order := place())
    await desk.db.execute("ALTER TABLE orders DISABLE TRIGGER USER")
    await desk.db.execute("UPDATE orders SET status = $1", old)
    await desk.db.execute("ALTER TABLE orders ENABLE TRIGGER USER")
    for new in OrderStatus:
        allowed = new in STATUS_TRANSITIONS[old] or new is old
        assert await can_change(desk, order.order_id, new) == allowed, (old, new)


async def can_change(desk: Desk, order_id: object, status: OrderStatus) -> bool:
    """Try it, and take it back."""
    change = desk.db.transaction()
    await change.start()
    try:
        await desk.db.execute("UPDATE orders SET status = $1 WHERE id = $2", status, order_id)
    except asyncpg.CheckViolationError as error:
        return error.constraint_name != "valid_order_status_transition"
    finally:
        await change.rollback()
    return True


async def test_no_other_status_exists(desk: Desk) -> None:
    await desk.hear(place())
    with pytest.raises(asyncpg.CheckViolationError, match="valid_order_status"):
        await desk.db.execute("UPDATE orders SET status = 'lost'")


async def test_five_hundred_orders_cost_as_many_statements_as_five(desk: Desk) -> None:
    costs = []
    for count in (1, 5, 500):  # the first round also asks for the types of columns
        orders = [place() for _ in range(count)]
        spent = []
        await desk.hear(*orders)
        spent.append(desk.statements)
        await desk.hear(*[reserved(order.order_id) for order in orders])
        spent.append(desk.statements)
        await desk.hear(
            *[
                PaymentIntentCreated(
                    order_id=order.order_id,
                    payment_intent_id=f"pi_{order.order_id}",
                    client_secret="s",
                    intent_status="requires_payment_method",
                )
                for order in orders
            ]
        )
        spent.append(desk.statements)
        costs.append(spent)
    assert costs[1] == costs[2] == [2, 3, 3]


def reached(status: str) -> float:
    value = REGISTRY.get_sample_value("orderflow_orders_reached_total", {"status": status})
    assert value is not None
    return value


async def test_orders_are_counted_by_the_statuses_that_they_come_to(desk: Desk) -> None:
    before = {status.value: reached(status) for status in OrderStatus}
    orders = [place() for _ in range(3)]
    early = place()
    await desk.hear(CancelOrder(order_id=early.order_id, requested_by="anna", reason="oops"))
    await desk.hear(*orders, early)
    await desk.hear(*orders)  # again: they are known
    await desk.hear(*(reserved(order.order_id) for order in orders[1:]))  # still pending
    cancel = CancelOrder(order_id=orders[0].order_id, requested_by="anna", reason="oops")
    await desk.hear(cancel)
    await desk.hear(cancel.model_copy(update={"reason": "again"}))
    came = {status: reached(status) - count for status, count in before.items()}
    assert {status: n for status, n in came.items() if n} == {"pending": 4, "cancelled": 2}


async def test_what_is_rolled_back_is_not_counted(desk: Desk) -> None:
    before = reached("pending")
    transaction = desk.db.transaction()
    await transaction.start()
    work = Work(desk.db, "order")
    await desk.handlers.place(work, [incoming(place())])
    await transaction.rollback()
    assert reached("pending") == before
    for call in work.callbacks:  # which the kit does after a commit only
        call()
    assert reached("pending") == before + 1


async def test_an_overdue_answer_is_asked_for_again_with_growing_patience(desk: Desk) -> None:
    await desk.hear(order := place())
    waits = []
    for _ in range(3):
        await desk.db.execute("UPDATE orders SET deadline_at = now()")
        async with desk.db.transaction():
            work = Work(desk.db, "order")
            await sweep_deadlines(work, desk.handlers)
        assert [m.topic for m in work.outgoing] == ["inventory.commands", "audit.order"]
        row = await desk.db.fetchrow("SELECT deadline_at, rounds, version FROM orders")
        assert row is not None
        told = OrderWaits.model_validate_json(work.outgoing[1].payload)
        assert (told.rounds, told.next_try_at) == (row["rounds"], row["deadline_at"])
        waits.append(round((row["deadline_at"] - work.now).total_seconds()))
        assert row["version"] == 1
    assert waits == [30, 60, 120]
    assert order.order_id


async def test_an_expired_reservation_is_given_up(desk: Desk) -> None:
    await desk.hear(order := place())
    await desk.db.execute("UPDATE orders SET deadline_at = now(), expires_at = now()")
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await sweep_deadlines(work, desk.handlers)
    assert work.outgoing[0].topic == "inventory.commands"
    assert (await history(desk, order.order_id))[-1][1:] == (
        "cancelled",
        "order-service",
        "not paid within the reservation time",
    )
