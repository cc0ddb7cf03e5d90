"""Orders with a refund that Stripe refused for good, as the topics tell of them."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.audit import OrderAudited, PaymentAudited
from contracts.message import new_message_id
from contracts.order import OrderStatus, PaymentStatus, RetryRefund, SettleRefund
from services.kit.work import utc_now
from services.ops import bulk
from services.ops.access import Task, task_of
from services.ops.bulk import Action
from services.ops.store.bulks import Bulk
from services.ops.store.checks import judge_money
from services.ops.store.orders import find_order, list_refused
from tests.messages import outgoing
from tests.ops.conftest import Watch
from tests.ops.stock import NOON
from tests.ops.test_bulk import moved, updated

REASON = "It has been charged back. (charge_disputed)"


def undecided(order_id: UUID, version: int = 2, **changes: object) -> OrderAudited:
    audited = moved(order_id, "payment.refund-failed.v1").model_copy(
        update={
            "version": version,
            "saga_state": "cancelled",
            "new_status": OrderStatus.CANCELLED,
            "refused_refund": REASON,
            "refused_amount": 100,
            "at": NOON + timedelta(seconds=version),
        }
    )
    return audited.model_copy(update=changes)


async def test_an_order_that_needs_a_decision_is_listed_until_it_is_decided(watch: Watch) -> None:
    first, second = sorted([uuid4(), uuid4()])
    await watch.hears(updated(first), updated(second), undecided(second), undecided(first, 3))
    rows = await list_refused(watch.pool, 10)
    assert [(row["order_id"], row["refused_refund"], row["refused_amount"]) for row in rows] == [
        (second, REASON, 100),
        (first, REASON, 100),
    ]
    later = undecided(second, 4, refused_refund="Still no.")
    await watch.hears(later)
    rows = await list_refused(watch.pool, 10)
    assert rows[0]["refused_since"] == NOON + timedelta(seconds=2)  # since the first refusal
    assert rows[0]["refused_refund"] == "Still no."
    await watch.hears(
        undecided(second, 5, refused_refund=None, refused_amount=None, amount_settled=100)
    )
    assert [row["order_id"] for row in await list_refused(watch.pool, 10)] == [first]
    found = await find_order(watch.pool, second)
    assert found is not None
    assert (found["amount_settled"], found["refused_since"]) == (100, None)
    await watch.hears(later)  # old news
    assert len(await list_refused(watch.pool, 10)) == 1


async def test_what_stripe_says_is_shown_without_personal_data(watch: Watch) -> None:
    order_id = uuid4()
    await watch.hears(updated(order_id), undecided(order_id, refused_refund="anna@shop.example"))
    (row,) = await list_refused(watch.pool, 10)
    assert row["refused_refund"] == "***"


@pytest.mark.parametrize(
    ("action", "message", "amount"),
    [(Action.RETRY_REFUND, RetryRefund, None), (Action.SETTLE_REFUND, SettleRefund, 0)],
)
async def test_a_decision_is_a_command_with_name_and_reason_and_has_its_answer(
    watch: Watch, action: Action, message: type[RetryRefund | SettleRefund], amount: int | None
) -> None:
    order_id = uuid4()
    await watch.hears(updated(order_id), undecided(order_id))
    wanted = Bulk(new_message_id(), action, None, "naledi", "as agreed", amount)
    for _ in range(2):  # asked twice, sent once
        async with watch.work.begin() as work:
            await bulk.ask(work, wanted, [order_id])
            if work.outgoing:
                (command,) = work.outgoing
    assert command.type == message.wire_type
    asked = message.model_validate_json(command.payload)
    assert (asked.requested_by, asked.reason) == ("naledi", "as agreed")
    done = undecided(order_id, 3, action=message.wire_type, refused_refund=None)
    await watch.hears(outgoing(done)._replace(causation_id=command.message_id))
    found = await bulk.look(watch.owner, wanted.id)
    assert [row["outcome"] for row in found["orders"]] == ["accepted"]
    assert task_of(action) is Task.REFUND_ORDERS


def payment(order_id: UUID, received: int, refunded: int = 0, lost: int = 0) -> PaymentAudited:
    return PaymentAudited(
        order_id=order_id,
        version=1,
        action="payment_intent.succeeded",
        old_status=None,
        new_status="succeeded",
        payment_intent_id="pi_1",
        amount=received,
        currency="eur",
        amount_received=received,
        amount_refunded=refunded,
        amount_lost=lost,
        changed_by="stripe:evt_1",
        reason=None,
        at=NOON,
    )


async def test_money_that_staff_decide_about_is_not_wrong_and_other_money_is(
    watch: Watch,
) -> None:
    waits, settled, lost, wrong = (uuid4() for _ in range(4))
    decided: Any = {"refused_refund": None, "refused_amount": None}
    paid: Any = {"payment_status": PaymentStatus.PAID}
    await watch.hears(
        *(updated(order_id, OrderStatus.CANCELLED) for order_id in (waits, settled, lost, wrong)),
        undecided(waits),
        undecided(settled, **decided, amount_settled=100),
        undecided(lost, **decided, amount_lost=100),
        undecided(wrong, **decided, **paid),
        *(payment(order_id, 100) for order_id in (waits, settled, wrong)),
        payment(lost, 100, lost=100),
    )
    judged = await judge_money(watch.pool, utc_now(), 5)
    assert (judged.looked_at, judged.wrong) == (4, 1)
    assert str(wrong) in judged.first[0]
