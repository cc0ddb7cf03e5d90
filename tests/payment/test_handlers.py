"""Commands and webhooks on a real database: one effect, an answer every time, all of it audited."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from contracts.message import Message
from contracts.payment import (
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    RefundFailed,
)
from contracts.stripe import StripeEventReceived
from services.kit.work import Work
from services.payment.charging import Finished
from services.payment.instant import InstantProvider
from services.payment.measuring import measure
from services.payment.model import Terms
from services.payment.provider import Intent, MadeRefund
from services.payment.reconciling import SOURCE
from tests.contracts.stripe_shapes import objects, shape, snapshot, thin
from tests.payment.bench import (
    AMOUNT,
    Bench,
    Unpaid,
    cancel,
    charge_refunded,
    dispute_event,
    event,
    incoming,
    intent_event,
    refund,
    request,
)


async def opened(bench: Bench) -> tuple[UUID, str]:
    """An order whose customer can pay, and its intent."""
    order_id = uuid4()
    await bench.hear(request(order_id))
    (created,) = await bench.call(Unpaid())
    assert isinstance(created, PaymentIntentCreated)
    return order_id, created.payment_intent_id


async def paid(bench: Bench) -> tuple[UUID, str]:
    order_id, intent = await opened(bench)
    (said,) = await bench.hear(intent_event("succeeded", intent, order_id))
    assert isinstance(said, PaymentSucceeded)
    return order_id, intent


async def test_columns_that_a_later_release_added_get_their_defaults(bench: Bench) -> None:
    """It migrates while this one is at work."""
    tables = ("payments", "refunds")
    for table in tables:
        await bench.fetch(f"ALTER TABLE {table} ADD COLUMN later int NOT NULL DEFAULT 7")
    try:
        order_id, _ = await paid(bench)
        await bench.hear(refund(order_id))
        for table in tables:
            (row,) = await bench.fetch(f"SELECT later FROM {table}")
            assert row["later"] == 7
    finally:
        for table in tables:
            await bench.fetch(f"ALTER TABLE {table} DROP COLUMN later")


async def test_a_payment_that_the_release_before_inserted_has_no_dispute(bench: Bench) -> None:
    """It does not know of disputes, and inserts whole rows: nothing stands there."""
    order_id, intent = await opened(bench)
    await bench.fetch("UPDATE payments SET disputed = NULL, disputes = NULL")
    await bench.hear(dispute_event("created", "needs_response", intent))
    row = await bench.payment(order_id)
    assert (row["disputed"], row["disputes"]) == (True, '{"du_1": "needs_response"}')


async def test_asked_twice_there_is_one_intent_and_two_answers(bench: Bench) -> None:
    order_id = uuid4()
    assert await bench.hear(request(order_id)) == []
    assert bench.woken == 1
    assert await bench.hear(request(order_id)) == [], "the first answer is still to come"
    (first,) = await bench.call(Unpaid())
    assert await bench.hear(request(order_id)) == [first]
    assert await bench.fetch("SELECT FROM stripe_calls") == []


async def test_asked_again_for_another_amount_goes_to_people(bench: Bench) -> None:
    order_id, _ = await opened(bench)
    assert await bench.hear(request(order_id, AMOUNT + 1)) == []
    assert bench.parked == ["asked again for another amount, currency or customer"]


async def test_an_undo_that_comes_first_is_answered_and_remembered(bench: Bench) -> None:
    order_id = uuid4()
    canceled = PaymentCanceled(order_id=order_id, payment_intent_id=None)
    assert await bench.hear(cancel(order_id)) == [canceled]
    assert await bench.hear(cancel(order_id)) == [canceled]
    assert await bench.hear(request(order_id)) == [canceled], "refused: its undo was here before"
    (nothing,) = await bench.hear(refund(order_id))
    assert isinstance(nothing, PaymentRefunded)
    assert nothing.amount_refunded == 0
    assert await bench.fetch("SELECT FROM stripe_calls") == []


async def test_a_creation_that_nobody_has_started_is_withdrawn(bench: Bench) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    assert await bench.hear(cancel(order_id)) == [
        PaymentCanceled(order_id=order_id, payment_intent_id=None)
    ]
    assert await bench.fetch("SELECT FROM stripe_calls") == []


async def test_a_creation_under_way_is_waited_for_and_then_canceled(bench: Bench) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    (call,) = await bench.claim()
    assert await bench.hear(cancel(order_id)) == []
    made = await Unpaid().create_intent(order_id, AMOUNT, "zar", call.key)
    assert await bench.record(Finished(call, made)) == []
    (said,) = await bench.call(Unpaid())
    assert said == PaymentCanceled(order_id=order_id, payment_intent_id=made.id)


async def test_cancelling_waits_for_a_claim_in_progress(bench: Bench) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    async with bench.pool.acquire() as db:
        claim = db.transaction()
        await claim.start()
        await db.execute("UPDATE stripe_calls SET attempts = 1")
        cancelling = asyncio.create_task(bench.hear(cancel(order_id)))
        await asyncio.sleep(0.1)
        assert not cancelling.done()
        await claim.commit()
    assert await cancelling == [], "the intent may come to be"
    assert (await bench.payment(order_id))["cancel_requested"]


async def test_a_stripe_that_is_away_gets_no_pile_of_cancellations(bench: Bench) -> None:
    order_id, _ = await opened(bench)
    for _ in range(5):
        assert await bench.hear(cancel(order_id)) == []
    assert len(await bench.fetch("SELECT FROM stripe_calls")) == 1


async def test_every_change_is_audited_without_a_gap(bench: Bench) -> None:
    order_id, intent = await paid(bench)
    await bench.hear(charge_refunded(intent, 500))
    await bench.hear(charge_refunded(intent, 500))
    refund_id = uuid4()
    await bench.hear(refund(order_id, refund_id))
    await bench.call(InstantProvider())
    mine = [record for record in bench.audit if record.order_id == order_id]
    assert [record.version for record in mine] == list(range(1, len(mine) + 1))
    assert [record.new_status for record in mine][:3] == ["creating", "open", "succeeded"]
    assert mine[0].changed_by == "order"
    assert mine[1].changed_by == "stripe:call"
    assert mine[2].changed_by.startswith("stripe:evt_")
    row = await bench.payment(order_id)
    last = mine[-1]
    assert (last.version, last.amount_received, last.amount_refunded) == (
        row["version"],
        row["amount_received"],
        row["amount_refunded"],
    )


async def test_each_webhook_is_stored_with_what_became_of_it(bench: Bench) -> None:
    order_id, intent = await opened(bench)
    stories = [
        (intent_event("succeeded", intent, order_id), "applied"),
        (intent_event("processing", intent, order_id), "stale"),
        (dispute_event("created", "needs_response", intent), "applied"),
        (dispute_event("created", "needs_response", "pi_of_somebody"), "foreign"),
        (event("invoice.paid", {"id": "in_1", "object": "invoice"}), "ignored"),
        (intent_event("succeeded", "pi_of_somebody", None), "foreign"),
        (intent_event("succeeded", "pi_of_nobody", uuid4()), "parked"),
        (intent_event("succeeded", intent, order_id, livemode=True), "parked"),
    ]
    await bench.hear(*[news for news, _ in stories])
    assert [await bench.outcome(news) for news, _ in stories] == [name for _, name in stories]
    assert len(bench.parked) == 2


async def test_an_event_of_no_interest_is_stored_by_id_and_type_and_counted(bench: Bench) -> None:
    """Whatever the shape of its object is: a sample of each shape that the SDK knows."""
    labels = ("orderflow_stripe_events_total", {"outcome": "ignored"})
    before = REGISTRY.get_sample_value(*labels) or 0
    shapes = {shape(sample): sample for _name, sample in objects()}
    odd = [
        StripeEventReceived.from_event(snapshot(f"made.up.{number}", sample))
        for number, sample in enumerate(shapes.values())
    ]
    odd.append(StripeEventReceived.from_event(thin("v2.core.event_destination.ping", None)))
    assert await bench.hear(*odd) == []
    assert bench.parked == []
    stored = await bench.fetch("SELECT event_id, event_type, outcome FROM stripe_events")
    assert {(row["event_id"], row["event_type"]) for row in stored} == {
        (each.event_id, each.event_type) for each in odd
    }
    assert {row["outcome"] for row in stored} == {"ignored"}
    assert (REGISTRY.get_sample_value(*labels) or 0) == before + len(odd)


async def test_a_dispute_is_flagged_audited_and_counted_until_it_is_over(bench: Bench) -> None:
    order_id, intent = await paid(bench)
    paid_row = dict(await bench.payment(order_id))
    assert await bench.hear(dispute_event("created", "needs_response", intent)) == []
    row = dict(await bench.payment(order_id))
    changed = {name for name in row if row[name] != paid_row[name]}
    assert changed == {"disputed", "disputes", "version", "updated_at"}
    assert await disputes_open(bench) == 1
    assert await bench.hear(dispute_event("closed", "won", intent)) == []
    assert await disputes_open(bench) == 0
    flagged, cleared = bench.audit[-2:]
    assert (flagged.action, flagged.disputed) == ("charge.dispute.created", True)
    assert flagged.reason == "dispute du_1 (fraudulent) is needs_response"
    assert (cleared.action, cleared.disputed) == ("charge.dispute.closed", False)
    assert cleared.old_status == cleared.new_status == "succeeded"
    assert cleared.version == row["version"] + 1


async def disputes_open(bench: Bench) -> float | None:
    async with bench.transaction() as work:
        await measure(work)
    return REGISTRY.get_sample_value("orderflow_disputes_open")


async def test_a_webhook_that_reconciliation_found_is_told_from_one_that_came(
    bench: Bench,
) -> None:
    order_id, intent = await opened(bench)
    before = REGISTRY.get_sample_value("orderflow_webhooks_missed_total") or 0
    came = intent_event("processing", intent, order_id)
    await bench.hear(came, source="gateway")
    missed = intent_event("succeeded", intent, order_id)
    (said,) = await bench.hear(came, missed, source=SOURCE)
    assert isinstance(said, PaymentSucceeded)
    assert REGISTRY.get_sample_value("orderflow_webhooks_missed_total") == before + 1
    found = await bench.fetch("SELECT event_id FROM stripe_events WHERE found")
    assert [row["event_id"] for row in found] == [missed.event_id]


async def test_an_event_is_decided_once_but_a_parked_one_again(bench: Bench) -> None:
    order_id, intent = await opened(bench)
    failure = intent_event("payment_failed", intent, order_id, error={"message": "No."})
    (failed,) = await bench.hear(failure)
    assert isinstance(failed, PaymentFailed)
    assert await bench.hear(failure) == [], "one failure, one PaymentFailed"

    unknown = uuid4()
    early = intent_event("succeeded", "pi_early", unknown)
    await bench.hear(early)
    assert await bench.outcome(early) == "parked"
    await bench.hear(request(unknown))
    (said,) = await bench.hear(early)
    assert isinstance(said, PaymentSucceeded)
    assert await bench.outcome(early) == "applied"


async def test_two_events_of_one_payment_in_one_batch(bench: Bench) -> None:
    """One is keyed by the order, the other by the intent, so both are in one wave."""
    order_id, intent = await opened(bench)
    said = await bench.hear(
        intent_event("succeeded", intent, order_id), charge_refunded(intent, AMOUNT)
    )
    assert [type(message) for message in said] == [PaymentSucceeded, PaymentRefunded]


async def test_a_partial_refund_then_the_rest_then_nothing_is_left(bench: Bench) -> None:
    order_id, intent = await paid(bench)
    part = uuid4()
    assert await bench.hear(refund(order_id, part, 2_000)) == []
    (partly,) = await bench.call(InstantProvider())
    assert isinstance(partly, PaymentPartiallyRefunded)
    assert partly.amount_refunded == 2_000
    assert await bench.hear(charge_refunded(intent, 2_000)) == [], "our own refund coming back"
    assert await bench.hear(refund(order_id, part, 2_000)) == [partly], "the same answer again"
    (refused,) = await bench.hear(refund(order_id, amount=AMOUNT))
    assert isinstance(refused, RefundFailed)
    assert refused.message == (
        "Refund amount (12000 zar) is greater than unrefunded amount on charge (10000 zar), "
        "in minor units."
    )
    await bench.hear(refund(order_id))
    (fully,) = await bench.call(InstantProvider())
    assert isinstance(fully, PaymentRefunded)
    assert fully.amount_refunded == AMOUNT
    (done,) = await bench.hear(refund(order_id, last := uuid4()))
    assert done == fully.model_copy(update={"refund_id": last}), "nothing is left: done"
    assert (await bench.payment(order_id))["version"] == fully.payment_version


async def test_two_refunds_at_once_never_give_back_more_than_there_is(bench: Bench) -> None:
    order_id, _ = await paid(bench)
    await bench.hear(refund(order_id, amount=8_000))
    (second,) = await bench.hear(refund(order_id, amount=8_000))
    assert isinstance(second, RefundFailed)
    await bench.hear(refund(order_id, amount=4_000))
    assert len(await bench.fetch("SELECT FROM stripe_calls")) == 1, "one call at a time"
    said = await bench.call_until_done(InstantProvider())
    assert [message.amount_refunded for message in said] == [8_000, AMOUNT]  # type: ignore[attr-defined]


async def test_a_refund_of_an_open_payment_is_refused(bench: Bench) -> None:
    order_id, _ = await opened(bench)
    (said,) = await bench.hear(refund(order_id))
    assert isinstance(said, RefundFailed)
    assert await bench.fetch("SELECT FROM refunds") == []


async def test_a_failed_refund_asked_again_is_a_new_attempt(bench: Bench) -> None:
    order_id, intent = await paid(bench)
    refund_id = uuid4()
    await bench.hear(refund(order_id, refund_id))
    await bench.call(InstantProvider())
    (row,) = await bench.fetch("SELECT stripe_refund_id FROM refunds")
    failure = event(
        "refund.failed",
        {
            "id": row["stripe_refund_id"],
            "object": "refund",
            "amount": AMOUNT,
            "payment_intent": intent,
            "failure_reason": "insufficient_funds",  # of the Stripe balance: it passes
            "metadata": {"order_id": str(order_id), "refund_id": str(refund_id)},
        },
    )
    assert await bench.hear(failure) == [], "what stands is asked for"

    class Fallen(InstantProvider):
        async def retrieve_intent(self, intent_id: str) -> Intent:
            return replace(await super().retrieve_intent(intent_id), amount_refunded=0)

        async def create_refund(self, *given: object) -> MadeRefund:
            return MadeRefund("re_second", "succeeded", AMOUNT, AMOUNT)

    (failed,) = await bench.call(Fallen())
    assert isinstance(failed, RefundFailed)
    assert failed.refund_id == refund_id
    assert failed.amount_refunded == 0
    assert "insufficient_funds" in failed.message
    keys = {row["idempotency_key"] for row in await bench.fetch("SELECT * FROM stripe_calls")}
    await bench.hear(refund(order_id, refund_id))
    (again,) = await bench.fetch("SELECT idempotency_key FROM stripe_calls")
    assert again["idempotency_key"] not in keys
    await bench.call(Fallen())
    (row,) = await bench.fetch("SELECT * FROM refunds")
    assert (row["attempt"], row["status"]) == (2, "succeeded")


async def test_with_policy_retry_the_payment_stays_open(bench: Bench) -> None:
    lenient = Bench(bench.pool, Terms("retry"))
    order_id, intent = await opened(lenient)
    (said,) = await lenient.hear(
        intent_event("payment_failed", intent, order_id, error={"message": "No."})
    )
    assert said.wire_type == "payment.payment-updated.v1"
    assert (await bench.payment(order_id))["status"] == "open"


@pytest.mark.parametrize("size", [1, 50])
async def test_the_number_of_statements_does_not_depend_on_the_batch(
    bench: Bench, size: int
) -> None:
    orders = [uuid4() for _ in range(size)]
    counted: list[int] = []
    batches: list[list[Message]] = [
        [request(order_id) for order_id in orders],
        [request(order_id) for order_id in orders],
        [cancel(order_id) for order_id in orders],
        [refund(order_id) for order_id in orders],
        [intent_event("succeeded", f"pi_{order_id}", order_id) for order_id in orders],
    ]
    for batch in batches:
        async with bench.pool.acquire() as db, db.transaction():
            queries: list[object] = []
            note = queries.append
            db.add_query_logger(note)
            work = Work(db, "payment")
            await bench.handlers[type(batch[0])](work, [incoming(message) for message in batch])
            db.remove_query_logger(note)
        counted.append(len(queries))
    assert counted == [2, 2, 4, 2, 5]


# -- what the database itself refuses ----------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "status = 'open'",
        "status = 'canceled'",
        "amount_received = 0, status = 'failed'",
        "amount = amount + 1, amount_received = amount + 1",
        "payment_intent_id = 'pi_other'",
        "amount_refunded = amount_received + 1",
        "status = 'paid'",
    ],
)
async def test_plain_sql_cannot_undo_a_settled_payment(bench: Bench, change: str) -> None:
    order_id, _ = await paid(bench)
    with pytest.raises(asyncpg.CheckViolationError):
        await bench.fetch(f"UPDATE payments SET {change} WHERE order_id = $1", order_id)


async def test_one_intent_pays_one_order(bench: Bench) -> None:
    _, intent = await paid(bench)
    other = uuid4()
    await bench.hear(request(other))
    with pytest.raises(asyncpg.UniqueViolationError):
        await bench.fetch(
            "UPDATE payments SET payment_intent_id = $1 WHERE order_id = $2", intent, other
        )
