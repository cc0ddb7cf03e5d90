"""Orders that an operator edits by SQL: the saga follows the edit where its meaning is clear, and
shows the contradiction where it is not."""

from typing import Any

import pytest

from contracts.audit import OrderAudited, OrderWaits
from contracts.inventory import StockRestored
from contracts.message import Message
from contracts.order import OrderUpdated, RefundOrder
from contracts.payment import (
    PaymentCanceled,
    PaymentIntentCreated,
    PaymentRefunded,
    PaymentSucceeded,
)
from services.kit.work import Work
from services.order.sweeper import sweep_deadlines
from tests.order.conftest import Desk, place, reserved

Id = Any


def intent(order_id: Id) -> Message:
    return PaymentIntentCreated(
        order_id=order_id, payment_intent_id="pi_1", client_secret="s", intent_status="x"
    )


def paid(order_id: Id) -> Message:
    return PaymentSucceeded(
        order_id=order_id, payment_intent_id="pi_1", amount=12000, currency="zar"
    )


async def placed(desk: Desk, *what: Any) -> Id:
    """An order that has consumed these messages."""
    await desk.hear(order := place())
    for message in what:
        await desk.hear(message(order.order_id))
    return order.order_id


async def edit(desk: Desk, change: str) -> None:
    await desk.db.execute(f"UPDATE orders SET {change}")


async def sweep(desk: Desk) -> list[str]:
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await sweep_deadlines(work, desk.handlers)
    desk.sent = work.outgoing
    return desk.sent_types()


async def row(desk: Desk) -> Any:
    found = await desk.db.fetchrow("SELECT * FROM orders")
    assert found is not None
    return found


async def where(desk: Desk) -> tuple[str, str]:
    found = await row(desk)
    return found["saga_state"], found["status"]


async def test_an_order_that_was_closed_gives_up_its_payment_and_its_stock(desk: Desk) -> None:
    order_id = await placed(desk, reserved, intent)
    await edit(desk, "status = 'cancelled'")
    assert "payment.cancel-payment.v1" in await sweep(desk)  # at once, not at the deadline
    assert await where(desk) == ("withdrawing", "cancelled")
    await desk.hear(PaymentCanceled(order_id=order_id, payment_intent_id="pi_1"))
    assert "inventory.restore-stock.v1" in desk.sent_types()
    await desk.hear(StockRestored(order_id=order_id))
    assert await where(desk) == ("cancelled", "cancelled")
    assert (await row(desk))["deadline_at"] is None


async def test_a_payment_that_meets_an_order_closed_by_sql_goes_back(desk: Desk) -> None:
    order_id = await placed(desk, reserved, intent)
    await edit(desk, "status = 'cancelled'")
    await desk.hear(paid(order_id))  # before the sweeper comes
    assert desk.parked == []
    assert "payment.refund-payment.v1" in desk.sent_types()
    assert await where(desk) == ("returning_money", "cancelled")
    await desk.hear(PaymentRefunded(order_id=order_id, amount_refunded=12000, payment_version=2))
    await desk.hear(StockRestored(order_id=order_id))
    assert await where(desk) == ("cancelled", "cancelled")


async def test_a_paid_order_that_was_closed_returns_money_then_stock(desk: Desk) -> None:
    await placed(desk, reserved, intent, paid)
    await edit(desk, "status = 'cancelled'")
    assert "payment.refund-payment.v1" in await sweep(desk)
    assert await where(desk) == ("returning_money", "cancelled")


async def test_an_order_whose_saga_state_was_closed_as_well_is_followed_up(desk: Desk) -> None:
    await placed(desk, reserved, intent)
    await edit(desk, "status = 'cancelled', saga_state = 'cancelled', deadline_at = NULL")
    assert "payment.cancel-payment.v1" in await sweep(desk)
    assert await where(desk) == ("withdrawing", "cancelled")


async def test_an_order_that_was_moved_on_goes_on_from_there(desk: Desk) -> None:
    await placed(desk, reserved, intent, paid)
    for status in ("processing", "shipped", "delivered", "archived"):
        await edit(desk, f"status = '{status}'")
        await sweep(desk)
        assert await where(desk) == (status, status)
    assert (await row(desk))["stuck_since"] is None


async def test_what_follows_an_edit_is_published_under_the_name_of_the_database_role(
    desk: Desk,
) -> None:
    await placed(desk, reserved, intent)
    await edit(desk, "status = 'confirmed'")
    await edit(desk, "status = 'cancelled'")
    await sweep(desk)
    view = next(
        OrderUpdated.model_validate_json(m.payload)
        for m in desk.sent
        if m.type == OrderUpdated.wire_type
    )
    audited = next(
        OrderAudited.model_validate_json(m.payload)
        for m in desk.sent
        if m.type == OrderAudited.wire_type
    )
    assert (view.status, view.version) == ("cancelled", audited.version)
    # Of the last audited status, so that the audit has no gap.
    assert (audited.old_status, audited.new_status) == ("pending", "cancelled")
    assert audited.changed_by.startswith("database:")
    assert audited.reason == "set to cancelled in the database"
    assert [change.new_status for change in view.history] == ["pending", "confirmed", "cancelled"]


@pytest.mark.parametrize(
    ("what", "status"), [((reserved, intent), "confirmed"), ((reserved, intent, paid), "refunded")]
)
async def test_an_edit_whose_meaning_is_not_clear_is_shown(
    desk: Desk, what: tuple[Any, ...], status: str
) -> None:
    """Money is not moved on a guess."""
    order_id = await placed(desk, *what)
    before = (await row(desk))["saga_state"]
    await edit(desk, f"status = '{status}'")
    assert await sweep(desk) == ["audit.order-waits.v1"]
    told = OrderWaits.model_validate_json(desk.sent[0].payload)
    assert told.order_id == order_id
    assert told.stuck_reason is not None
    assert f"'{status}' does not fit the saga state '{before}'" in told.stuck_reason


async def test_a_refund_by_command_ends_a_contradiction(desk: Desk) -> None:
    order_id = await placed(desk, reserved, intent, paid)
    await edit(desk, "status = 'refunded'")
    await sweep(desk)
    await desk.hear(RefundOrder(order_id=order_id, requested_by="naledi", reason="as marked"))
    assert "payment.refund-payment.v1" in desk.sent_types()
    await desk.hear(PaymentRefunded(order_id=order_id, amount_refunded=12000, payment_version=2))
    await desk.hear(StockRestored(order_id=order_id))
    assert await where(desk) == ("refunded", "refunded")
    assert (await row(desk))["stuck_reason"] is None


async def test_a_payment_ends_a_contradiction(desk: Desk) -> None:
    order_id = await placed(desk, reserved, intent)
    await edit(desk, "status = 'confirmed'")
    await sweep(desk)
    await desk.hear(paid(order_id))
    assert desk.parked == []
    assert await where(desk) == ("confirmed", "confirmed")
    assert (await row(desk))["stuck_reason"] is None


async def test_the_service_itself_makes_no_order_due(desk: Desk) -> None:
    """The trigger tells edits by SQL from changes by the service by the version."""
    await placed(desk, reserved, intent)
    assert (await row(desk))["deadline_at"] == (await row(desk))["expires_at"]
