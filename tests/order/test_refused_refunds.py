"""A refund that Stripe refused for good, in the database: shown, counted, and decided once."""

import json
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY

from contracts.audit import OrderAudited
from contracts.message import Message
from contracts.order import (
    CancelOrder,
    CommandRefused,
    RefundOrder,
    RetryOrder,
    RetryRefund,
    SettleRefund,
)
from contracts.payment import PaymentSucceeded, RefundFailed, RefundPayment
from services.kit.work import Work
from services.order.decisions import count_undecided
from tests.order.conftest import Desk, place, reserved


def sent(desk: Desk, kind: type[Message]) -> list[Message]:
    return [kind.model_validate_json(it.payload) for it in desk.sent if it.type == kind.wire_type]


async def paid(desk: Desk) -> UUID:
    await desk.hear(order := place())
    await desk.hear(reserved(order.order_id))
    await desk.hear(
        PaymentSucceeded(
            order_id=order.order_id, payment_intent_id="pi_1", amount=12000, currency="zar"
        )
    )
    return order.order_id


async def refused(desk: Desk, order_id: UUID) -> None:
    """The refund that was asked for just now."""
    (command,) = sent(desk, RefundPayment)
    assert isinstance(command, RefundPayment)
    await desk.hear(
        RefundFailed(
            order_id=order_id,
            refund_id=command.refund_id,
            message="It has been charged back.",
            code="charge_disputed",
            final=True,
            amount_refunded=0,
            payment_version=4,
        )
    )


async def cancelled_and_refused(desk: Desk) -> UUID:
    order_id = await paid(desk)
    await desk.hear(
        CancelOrder(order_id=order_id, requested_by="thabo", by_staff=True, reason="damaged")
    )
    await refused(desk, order_id)
    return order_id


def settle(order_id: UUID, amount: int = 12000) -> SettleRefund:
    return SettleRefund(
        order_id=order_id, amount=amount, requested_by="naledi", reason="bank transfer"
    )


async def undecided(desk: Desk) -> float | None:
    await count_undecided(Work(desk.db, "order"))
    return REGISTRY.get_sample_value("orderflow_orders_undecided")


async def test_a_refused_refund_is_shown_with_stripes_reason_and_counted(desk: Desk) -> None:
    await cancelled_and_refused(desk)
    (audited,) = sent(desk, OrderAudited)
    assert isinstance(audited, OrderAudited)
    reason = "It has been charged back. (charge_disputed)"
    assert (audited.refused_refund, audited.refused_amount) == (reason, 12000)
    assert await desk.db.fetchval("SELECT refused_refund FROM orders") == reason
    assert await undecided(desk) == 1


async def test_settling_outside_is_audited_with_name_reason_and_amount(desk: Desk) -> None:
    order_id = await cancelled_and_refused(desk)
    await desk.hear(settle(order_id))
    (audited,) = sent(desk, OrderAudited)
    assert isinstance(audited, OrderAudited)
    assert (audited.action, audited.changed_by) == ("order.settle-refund.v1", "naledi")
    assert (audited.amount_settled, audited.refused_refund) == (12000, None)
    assert audited.payment_status == "refunded"
    assert await undecided(desk) == 0
    row = await desk.db.fetchrow("SELECT amount_settled, refunds FROM orders")
    assert row is not None
    assert row["amount_settled"] == 12000
    assert [it["outcome"] for it in json.loads(row["refunds"])] == ["settled"]


async def test_a_decision_asked_twice_counts_once(desk: Desk) -> None:
    order_id = await cancelled_and_refused(desk)
    await desk.hear(settle(order_id, 5000))
    await desk.hear(settle(order_id, 5000))
    (no,) = sent(desk, CommandRefused)
    assert isinstance(no, CommandRefused)
    assert no.reason == "no refund of this order waits for a decision"
    assert await desk.db.fetchval("SELECT amount_settled FROM orders") == 5000


async def test_no_more_is_settled_than_was_paid(desk: Desk) -> None:
    order_id = await cancelled_and_refused(desk)
    await desk.hear(settle(order_id, 12001))
    (no,) = sent(desk, CommandRefused)
    assert isinstance(no, CommandRefused)
    assert no.reason == "only 12000 of the payment is left to give back"
    with pytest.raises(asyncpg.CheckViolationError, match="settles_no_more_than_total"):
        await desk.db.execute("UPDATE orders SET amount_settled = 12001")


async def test_trying_again_is_one_new_refund_with_what_staff_said_about_the_goods(
    desk: Desk,
) -> None:
    order_id = await paid(desk)
    asked = RefundOrder(order_id=order_id, restock=False, requested_by="thabo", reason="scratched")
    await desk.hear(asked)
    await refused(desk, order_id)
    again = RetryRefund(order_id=order_id, requested_by="naledi", reason="the dispute was won")
    await desk.hear(again)
    (command,) = sent(desk, RefundPayment)
    assert isinstance(command, RefundPayment)
    refunds = json.loads(await desk.db.fetchval("SELECT refunds FROM orders"))
    assert [(it["outcome"], it["restock"]) for it in refunds] == [
        ("replaced", False),
        (None, False),
    ]
    assert refunds[1]["refund_id"] == str(command.refund_id) != refunds[0]["refund_id"]
    assert await desk.db.fetchval("SELECT saga_state FROM orders") == "refunding_only"


async def test_a_retry_of_the_order_says_that_the_refund_needs_a_decision(desk: Desk) -> None:
    order_id = await paid(desk)
    await desk.hear(RefundOrder(order_id=order_id, requested_by="thabo", reason="scratched"))
    await refused(desk, order_id)
    await desk.hear(RetryOrder(order_id=order_id, requested_by="naledi", reason="go on"))
    (no,) = sent(desk, CommandRefused)
    assert isinstance(no, CommandRefused)
    assert no.reason == "it waits for a decision about its refused refund: it is confirmed"
