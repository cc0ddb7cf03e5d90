"""What many orders are asked at once, and which answer belongs to which."""

from uuid import UUID, uuid4

import pytest

from contracts.audit import OrderAudited
from contracts.message import Message, new_message_id
from contracts.order import CommandRefused, OrderStatus, OrderUpdated, PaymentStatus
from contracts.payment import RefundFailed, RefundPayment
from services.ops import bulk
from services.ops.asking import OtherRequest, UnusableId
from services.ops.bulk import Action, UnknownOrders
from services.ops.store.bulks import Bulk
from tests.messages import outgoing
from tests.ops.conftest import Watch
from tests.ops.stock import NOON


def updated(order_id: UUID, status: OrderStatus = OrderStatus.CONFIRMED) -> OrderUpdated:
    return OrderUpdated(
        order_id=order_id,
        version=1,
        customer_id="anna",
        status=status,
        payment_status=PaymentStatus.PAID,
        total=100,
        currency="eur",
        items=(),
        payment=None,
        problems=(),
        history=(),
        updated_by="anna",
        admin_notes=None,
        created_at=NOON,
        updated_at=NOON,
    )


def moved(order_id: UUID, action: str = "order.change-order-status.v1") -> OrderAudited:
    return OrderAudited(
        order_id=order_id,
        version=2,
        action=action,
        old_status=OrderStatus.CONFIRMED,
        new_status=OrderStatus.PROCESSING,
        payment_status=PaymentStatus.PAID,
        saga_state="processing",
        total=100,
        currency="eur",
        changed_by="naledi",
        reason="packed",
        admin_notes=None,
        at=NOON,
    )


def refused(order_id: UUID) -> CommandRefused:
    return CommandRefused(
        order_id=order_id,
        command="order.change-order-status.v1",
        requested_by="naledi",
        reason="not from this status",
        status=OrderStatus.PENDING,
    )


def packing(bulk_id: UUID | None = None, reason: str = "packed") -> Bulk:
    return Bulk(bulk_id or new_message_id(), Action.PROCESSING, None, "naledi", reason)


async def ask(watch: Watch, wanted: Bulk, *order_ids: UUID) -> dict[UUID, str]:
    """The outcome of each order, as it stands right after asking."""
    async with watch.work.begin() as work:
        asked = await bulk.ask(work, wanted, order_ids)
    return {row["order_id"]: row["outcome"] for row in asked["orders"]}


async def outcomes(watch: Watch, bulk_id: UUID) -> dict[UUID, tuple[str, str | None]]:
    found = await bulk.look(watch.owner, bulk_id)
    return {row["order_id"]: (row["outcome"], row["problem"]) for row in found["orders"]}


async def command_of(watch: Watch, bulk_id: UUID, order_id: UUID) -> UUID:
    found: UUID = await watch.owner.fetchval(
        "SELECT command_id FROM bulk_orders WHERE bulk_id = $1 AND order_id = $2", bulk_id, order_id
    )
    return found


async def test_each_order_gets_the_answer_to_its_own_command(watch: Watch) -> None:
    good, bad, silent = (uuid4() for _ in range(3))
    wanted = packing()
    await watch.hears(*(updated(each) for each in (good, bad, silent)))
    assert set((await ask(watch, wanted, good, bad, silent)).values()) == {"waiting"}

    async def answers(order_id: UUID, answer: Message) -> None:
        cause = await command_of(watch, wanted.id, order_id)
        sent = outgoing(answer)._replace(causation_id=str(cause))
        await watch.hears(sent)
        await watch.hears(sent)

    await answers(good, moved(good))
    await answers(bad, refused(bad))
    await answers(silent, moved(silent, action="payment.payment-succeeded.v1"))
    assert await outcomes(watch, wanted.id) == {
        good: ("accepted", None),
        bad: ("refused", "not from this status"),
        silent: ("waiting", None),
    }


@pytest.mark.parametrize("in_one_batch", [True, False])
async def test_the_first_answer_stays(watch: Watch, *, in_one_batch: bool) -> None:
    order_id, wanted = uuid4(), packing()
    await watch.hears(updated(order_id))
    await ask(watch, wanted, order_id)
    cause = str(await command_of(watch, wanted.id, order_id))
    answers = [
        outgoing(each)._replace(causation_id=cause) for each in (moved(order_id), refused(order_id))
    ]
    for batch in [answers] if in_one_batch else [[each] for each in answers]:
        await watch.hears(*batch)
    assert await outcomes(watch, wanted.id) == {order_id: ("accepted", None)}


@pytest.mark.parametrize("fails_first", [True, False])
async def test_a_part_of_a_refund_is_taken_on_and_may_still_fail(
    watch: Watch, *, fails_first: bool
) -> None:
    """The order service tells only the payment service; topics come in any order."""
    order_id = uuid4()
    wanted = Bulk(new_message_id(), Action.REFUND, None, "naledi", "scratch", 40)
    # An order that is refunded already may hold money again, and is asked about all the same.
    await watch.hears(updated(order_id, OrderStatus.REFUNDED))
    assert await ask(watch, wanted, order_id) == {order_id: "waiting"}
    command = await command_of(watch, wanted.id, order_id)
    part = {"order_id": order_id, "refund_id": command}
    taken = outgoing(RefundPayment(**part, amount=40, reason="scratch"))
    taken = taken._replace(causation_id=str(command))
    failed = RefundFailed(**part, message="no account", amount_refunded=0, payment_version=3)
    others = failed.model_copy(update={"refund_id": uuid4()})
    if fails_first:
        await watch.hears(failed)
        await watch.hears(taken)
    else:
        await watch.hears(taken, others, failed.model_copy(update={"refund_id": None}))
        assert await outcomes(watch, wanted.id) == {order_id: ("accepted", None)}
        await watch.hears(failed)
    assert await outcomes(watch, wanted.id) == {order_id: ("refused", "no account")}


@pytest.mark.parametrize(
    ("action", "status", "outcome"),
    [
        (Action.CANCEL, OrderStatus.CANCELLED, "nothing to do"),
        (Action.SHIPPED, OrderStatus.SHIPPED, "waiting"),  # to be refused, as too late a step is
    ],
)
async def test_only_a_cancellation_is_not_answered_when_it_is_so_already(
    watch: Watch, action: Action, status: OrderStatus, outcome: str
) -> None:
    order_id, wanted = uuid4(), Bulk(new_message_id(), action, None, "naledi", "twice")
    await watch.hears(updated(order_id, status))
    assert await ask(watch, wanted, order_id) == {order_id: outcome}


async def test_asked_twice_is_asked_once(watch: Watch) -> None:
    order_id, wanted = uuid4(), packing()
    await watch.hears(updated(order_id))
    await ask(watch, wanted, order_id, order_id)
    first = await command_of(watch, wanted.id, order_id)
    await ask(watch, wanted, order_id)
    assert await command_of(watch, wanted.id, order_id) == first
    with pytest.raises(OtherRequest):
        await ask(watch, packing(wanted.id, reason="another"), order_id)
    with pytest.raises(OtherRequest):
        await ask(watch, wanted, uuid4())
    with pytest.raises(OtherRequest):
        await ask(watch, wanted._replace(amount=40), order_id)


async def test_of_orders_that_nobody_knows_nothing_is_asked(watch: Watch) -> None:
    known, unknown, wanted = uuid4(), uuid4(), packing()
    await watch.hears(updated(known))
    with pytest.raises(UnknownOrders, match=str(unknown)):
        await ask(watch, wanted, known, unknown)
    assert await bulk.look(watch.owner, wanted.id) == {}
    assert await watch.owner.fetchval("SELECT count(*) FROM outbox") == 0


async def test_an_id_of_another_kind_is_refused(watch: Watch) -> None:
    with pytest.raises(UnusableId):
        await ask(watch, packing(uuid4()), uuid4())


@pytest.mark.parametrize("action", Action)
async def test_every_action_has_its_command(watch: Watch, action: Action) -> None:
    order_id = uuid4()
    await watch.hears(updated(order_id))
    async with watch.work.begin() as work:
        wanted = Bulk(new_message_id(), action, None, "naledi", "why")
        await bulk.ask(work, wanted, [order_id])
        (sent,) = work.outgoing
    assert sent.topic == "order.commands"
    assert '"requested_by":"naledi"' in sent.payload
    assert '"reason":"why"' in sent.payload
