"""The workers against the Stripe stand-in over HTTP: one effect at Stripe, whatever breaks."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

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
from services.kit import calls as workers_module
from services.kit.service import Service
from services.payment import stripe_api
from services.payment.calling import make
from services.payment.charging import Charging, Connect, Finished
from services.payment.provider import (
    Intent,
    Provider,
    StripeRefused,
    StripeRetry,
    StripeUnexpectedState,
)
from services.payment.settings import PaymentSettings
from services.payment.stripe_api import StripeApi
from tests.payment.bench import AMOUNT, DAY, Bench, Unpaid, cancel, refund, request
from tests.standin.process import StandinProcess, eventually

CREATE, CANCEL, REFUND = "create_payment_intent", "cancel_payment_intent", "create_refund"


def settings(standin: StandinProcess, **given: Any) -> PaymentSettings:
    return PaymentSettings(
        database_url="postgresql://unused",
        kafka_bootstrap_servers="unused:1",
        stripe_secret_key="sk_test_payment",
        stripe_api_base=standin.url,
        stripe_calls_per_second=1000,
        **given,
    )


@pytest.fixture
async def api(standin: StandinProcess) -> AsyncIterator[StripeApi]:
    async with stripe_api.connect(settings(standin)) as api:
        yield api


async def ledger(standin: StandinProcess, order_id: UUID) -> list[dict[str, Any]]:
    """What Stripe has for the order."""
    answer = await standin.control("GET", f"/ledger?order_id={order_id}")
    return cast("list[dict[str, Any]]", answer["data"])


async def events(standin: StandinProcess, intent: str) -> list[StripeEventReceived]:
    """Stripe's events about an intent, oldest first."""
    found = []
    page = await standin.client.v1.events.list_async({"limit": 100})
    async for event in page.auto_paging_iter():
        if intent in str(event):
            found.append(StripeEventReceived.from_event(event.to_dict()))
        if len(found) > 20:
            break
    return found[::-1]


async def opened(bench: Bench, api: Provider) -> tuple[UUID, str]:
    order_id = uuid4()
    await bench.hear(request(order_id))
    (created,) = await bench.call_until_done(api)
    assert isinstance(created, PaymentIntentCreated)
    return order_id, created.payment_intent_id


async def paid(
    bench: Bench, api: Provider, standin: StandinProcess, method: str = "pm_card_visa"
) -> tuple[UUID, str]:
    order_id, intent = await opened(bench, api)
    await standin.intents.confirm_async(intent, {"payment_method": method})
    said = [message for news in await events(standin, intent) for message in await bench.hear(news)]
    assert [type(message) for message in said] == [PaymentSucceeded]
    return order_id, intent


def names(said: list[Message]) -> list[str]:
    return [type(message).__name__ for message in said]


# -- one intent, whatever happens to the answer ------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["rate_limit", "error_before", "lost_answer", "stored_error", "error_after"]
)
async def test_one_intent_whatever_happens_to_the_answer(
    bench: Bench, api: StripeApi, standin: StandinProcess, fault: str
) -> None:
    await standin.fault(fault, operation=CREATE, count=1)
    order_id, intent = await opened(bench, api)
    assert [entry["id"] for entry in await ledger(standin, order_id)] == [intent]


async def test_a_forgotten_key_of_an_old_call_makes_no_second_intent(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    await standin.fault("lost_answer", operation=CREATE, count=1)
    order_id = uuid4()
    await bench.hear(request(order_id))
    assert await bench.call(api) == []
    await standin.control("POST", "/idempotency_keys/forget")
    await bench.fetch("UPDATE stripe_calls SET key_made_at = now() - interval '24 hours'")
    (created,) = await bench.call(api)
    assert isinstance(created, PaymentIntentCreated)
    assert len(await ledger(standin, order_id)) == 1


async def test_an_intent_that_an_event_told_of_is_not_made_again(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    await standin.fault("lost_answer", operation=CREATE, count=1)
    order_id = uuid4()
    await bench.hear(request(order_id))
    await bench.call(api)
    await standin.control("POST", "/idempotency_keys/forget")
    (made,) = await ledger(standin, order_id)
    for news in await events(standin, made["id"]):
        assert await bench.hear(news) == []
    (created,) = await bench.call(api)
    assert isinstance(created, PaymentIntentCreated)
    assert created.client_secret.startswith(made["id"])
    assert len(await ledger(standin, order_id)) == 1


async def test_a_crash_between_call_and_record_repeats_under_the_same_key(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    (first,) = await bench.claim(lease=timedelta(0))
    zombie = Finished(first, await make(api, first, DAY))
    (second,) = await bench.claim()
    assert second.key == first.key
    (created,) = await bench.record(Finished(second, await make(api, second, DAY)))
    assert isinstance(created, PaymentIntentCreated)
    assert len(await ledger(standin, order_id)) == 1
    assert await bench.record(zombie) == [], "its lease is gone"


async def test_a_zombie_cannot_finish_the_next_call_of_its_order(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    (first,) = await bench.claim(lease=timedelta(0))
    zombie = Finished(first, await make(api, first, DAY))
    await bench.call(api)
    await bench.hear(cancel(order_id))
    before = await bench.payment(order_id)
    assert await bench.record(zombie) == []
    assert await bench.record(Finished(first, StripeRetry("late"))) == []
    assert await bench.payment(order_id) == before
    (said,) = await bench.call(api)
    assert isinstance(said, PaymentCanceled)


async def test_a_zombie_cannot_give_back_the_lease_of_another(bench: Bench) -> None:
    await bench.hear(request(uuid4()))
    (zombie,) = await bench.claim(lease=timedelta(0))
    (_call,) = await bench.claim()
    await bench.record(Finished(zombie, StripeRetry("late", retry_after=3_600)))
    assert await bench.fetch("SELECT FROM stripe_calls WHERE last_error IS NULL")
    assert await bench.claim() == [], "the call is with the other worker"


async def test_an_amount_that_stripe_does_not_take(bench: Bench, api: StripeApi) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id, amount=100_000_000))
    (said,) = await bench.call(api)
    assert isinstance(said, PaymentFailed)
    assert said.payment_intent_id is None
    assert said.code == "amount_too_large"
    assert await bench.hear(request(order_id, amount=100_000_000)) == [said]
    assert await bench.fetch("SELECT FROM stripe_calls") == []


# -- webhooks and answers in any order ---------------------------------------------------------


async def test_the_webhooks_come_before_the_answer(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id = uuid4()
    await bench.hear(request(order_id))
    (call,) = await bench.claim()
    answer = await make(api, call, DAY)
    assert isinstance(answer, Intent)
    await standin.intents.confirm_async(answer.id, {"payment_method": "pm_card_visa"})
    said = [m for news in await events(standin, answer.id) for m in await bench.hear(news)]
    assert names(said) == ["PaymentSucceeded"]
    assert await bench.record(Finished(call, answer)) == []
    assert (await bench.payment(order_id))["status"] == "succeeded"


@pytest.mark.parametrize("again", [1, 2])
async def test_webhooks_in_reverse_order_and_twice(
    bench: Bench, api: StripeApi, standin: StandinProcess, again: int
) -> None:
    order_id, intent = await opened(bench, api)
    with suppress(Exception):
        await standin.intents.confirm_async(intent, {"payment_method": "pm_card_chargeDeclined"})
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_visa"})
    await standin.refunds.create_async({"payment_intent": intent, "amount": 500})
    said = []
    for news in (await events(standin, intent))[::-1] * again:
        said += await bench.hear(news)
    said += await bench.call_until_done(api)
    assert sorted(set(names(said))) == ["PaymentPartiallyRefunded", "PaymentSucceeded"]
    assert len(said) == 2
    row = await bench.payment(order_id)
    assert (row["status"], row["amount_refunded"]) == ("succeeded", 500)


async def test_a_declined_card_fails_the_payment_and_is_then_canceled(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    with suppress(Exception):
        await standin.intents.confirm_async(
            intent, {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
        )
    said = [m for news in await events(standin, intent) for m in await bench.hear(news)]
    (failed,) = said
    assert isinstance(failed, PaymentFailed)
    assert failed.message == "Your card has insufficient funds."
    assert failed.code == "insufficient_funds"
    await bench.hear(cancel(order_id))
    assert names(await bench.call(api)) == ["PaymentCanceled"]
    assert (await ledger(standin, order_id))[0]["status"] == "canceled"


# -- cancelling --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, "rate_limit", "lost_answer", "stored_error", "error_after"]
)
async def test_cancelled_only_when_stripe_says_so(
    bench: Bench, api: StripeApi, standin: StandinProcess, fault: str | None
) -> None:
    order_id, intent = await opened(bench, api)
    if fault:
        await standin.fault(fault, operation=CANCEL, count=1)
    assert await bench.hear(cancel(order_id)) == []
    said = await bench.call_until_done(api)
    assert said == [PaymentCanceled(order_id=order_id, payment_intent_id=intent)]
    assert (await ledger(standin, order_id))[0]["status"] == "canceled"
    for news in await events(standin, intent):
        assert await bench.hear(news) == []


async def test_cancelling_crosses_the_payment_which_wins(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    await bench.hear(cancel(order_id))
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_visa"})
    assert names(await bench.call(api)) == ["PaymentSucceeded"]
    for news in await events(standin, intent):
        assert await bench.hear(news) == []
    assert names(await bench.hear(cancel(order_id))) == ["PaymentSucceeded"]


async def test_a_success_after_the_cancellation_can_be_given_back(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    await bench.hear(cancel(order_id))
    await bench.call(api)
    await standin.control("POST", f"/payment_intents/{intent}/succeed")
    for news in await events(standin, intent):
        assert await bench.hear(news) == []
    (late,) = await bench.call(api)
    assert isinstance(late, PaymentSucceeded)
    row = await bench.payment(order_id)
    assert (row["status"], row["amount_received"]) == ("canceled", AMOUNT)
    await bench.hear(refund(order_id))
    (back,) = await bench.call(api)
    assert isinstance(back, PaymentRefunded)
    assert (await ledger(standin, order_id))[0]["amount_refunded"] == AMOUNT


# -- refunds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [None, "rate_limit", "error_before", "lost_answer", "stored_error", "error_after"]
)
async def test_money_goes_back_once(
    bench: Bench, api: StripeApi, standin: StandinProcess, fault: str | None
) -> None:
    order_id, intent = await paid(bench, api, standin)
    if fault:
        await standin.fault(fault, operation=REFUND, count=1)
    part = uuid4()
    await bench.hear(refund(order_id, part, 5_000))
    (partly,) = await bench.call_until_done(api)
    assert isinstance(partly, PaymentPartiallyRefunded)
    assert await bench.hear(refund(order_id, part, 5_000)) == [partly]
    for news in await events(standin, intent):
        assert await bench.hear(news) == [], "our own refund is not a second one"
    (entry,) = await ledger(standin, order_id)
    assert [made["amount"] for made in entry["refunds"]] == [5_000]
    await bench.hear(refund(order_id))
    (fully,) = await bench.call_until_done(api)
    assert isinstance(fully, PaymentRefunded)
    assert fully.amount_refunded == AMOUNT


async def test_a_refund_made_in_the_dashboard_makes_ours_impossible(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await paid(bench, api, standin)
    await standin.refunds.create_async({"payment_intent": intent})
    await bench.hear(refund(order_id))
    said = await bench.call_until_done(api)
    assert names(said) == ["PaymentRefunded"]
    for news in await events(standin, intent):
        assert await bench.hear(news) == []


async def test_a_refund_that_fails_later_is_taken_back_and_made_anew_under_another_id(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await paid(bench, api, standin, "pm_card_refundFail")
    refund_id = uuid4()
    await bench.hear(refund(order_id, refund_id))
    assert names(await bench.call(api)) == ["PaymentRefunded"]

    async def failed_at_stripe() -> bool:
        (entry,) = await ledger(standin, order_id)
        return bool(entry["refunds"][0]["status"] == "failed")

    await eventually(failed_at_stripe, "the refund's failure")
    for news in await events(standin, intent):
        assert await bench.hear(news) == []
    (failed,) = await bench.call_until_done(api)
    assert isinstance(failed, RefundFailed)
    assert (failed.refund_id, failed.amount_refunded) == (refund_id, 0)
    assert (failed.final, failed.code) == (True, "lost_or_stolen_card")
    assert await bench.hear(refund(order_id, refund_id)) == [failed]  # for good
    await bench.hear(refund(order_id))
    assert "PaymentRefunded" in names(await bench.call_until_done(api))
    assert len((await ledger(standin, order_id))[0]["refunds"]) == 2


async def test_a_disputed_charge_is_refused_for_good_until_the_dispute_is_won(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await paid(bench, api, standin)
    dispute = await standin.control("POST", f"/payment_intents/{intent}/dispute", {})
    for news in await events(standin, intent):
        await bench.hear(news)
    await bench.hear(refund(order_id, refund_id := uuid4()))
    (refused,) = await bench.call_until_done(api)
    assert isinstance(refused, RefundFailed)
    assert (refused.final, refused.code) == (True, "charge_disputed")
    assert await bench.hear(refund(order_id, refund_id)) == [refused]

    await standin.control("POST", f"/disputes/{dispute['id']}", {"status": "won"})
    said = [message for news in await events(standin, intent) for message in await bench.hear(news)]
    assert names(said) == ["RefundPossible"]
    assert await bench.hear(refund(order_id, refund_id)) != []
    await bench.hear(refund(order_id))
    assert "PaymentRefunded" in names(await bench.call_until_done(api))
    assert len((await ledger(standin, order_id))[0]["refunds"]) == 1


async def test_a_lost_dispute_is_money_that_has_gone_back(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await paid(bench, api, standin)
    dispute = await standin.control("POST", f"/payment_intents/{intent}/dispute", {})
    await standin.control("POST", f"/disputes/{dispute['id']}", {"status": "lost"})
    said = [message for news in await events(standin, intent) for message in await bench.hear(news)]
    (back,) = said
    assert isinstance(back, PaymentRefunded)
    assert (back.amount_refunded, back.amount_lost) == (0, AMOUNT)
    (again,) = await bench.hear(refund(order_id))  # nothing is left, and Stripe is not asked
    assert names([again]) == ["PaymentRefunded"]


async def test_a_pending_refund_counts_as_stripe_counts_it(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await paid(bench, api, standin, "pm_card_pendingRefund")
    await bench.hear(refund(order_id))
    assert names(await bench.call(api)) == ["PaymentRefunded"]
    (row,) = await bench.fetch("SELECT status FROM refunds")
    assert row["status"] == "pending"

    async def arrived() -> bool:
        for news in await events(standin, intent):
            assert await bench.hear(news) == []
        (row,) = await bench.fetch("SELECT status FROM refunds")
        return bool(row["status"] == "succeeded")

    await eventually(arrived, "the refund's arrival")


# -- Stripe's answers --------------------------------------------------------------------------


async def test_how_stripe_says_no(api: StripeApi, standin: StandinProcess) -> None:
    with pytest.raises(StripeRefused, match="No such payment_intent") as missing:
        await api.cancel_intent("pi_nobody", str(uuid4()))
    assert missing.value.code == "resource_missing"
    intent = await standin.paid()
    with pytest.raises(StripeUnexpectedState) as state:
        await api.cancel_intent(intent.id, str(uuid4()))
    assert (state.value.intent.status, state.value.intent.amount_received) == ("succeeded", 12000)
    key = str(uuid4())
    await api.create_intent(uuid4(), AMOUNT, "zar", key)
    with pytest.raises(StripeRetry) as reused:
        await api.create_intent(uuid4(), AMOUNT, "zar", key)
    assert reused.value.key_spent
    await standin.fault("stored_error", operation=CREATE, count=1)
    key, order_id = str(uuid4()), uuid4()
    for spent in (False, True):
        with pytest.raises(StripeRetry) as stored:
            await api.create_intent(order_id, AMOUNT, "zar", key)
        assert (stored.value.server_error, stored.value.key_spent) == (True, spent)


async def test_a_silent_stripe_is_a_time_out(standin: StandinProcess) -> None:
    await standin.fault("delay", operation=CREATE, count=1, delay_ms=2_000)
    async with stripe_api.connect(settings(standin, stripe_timeout_seconds=0.2)) as api:
        with pytest.raises(StripeRetry, match="no answer"):
            await api.create_intent(uuid4(), AMOUNT, "zar", str(uuid4()))


async def test_a_stripe_that_is_not_there(standin: StandinProcess) -> None:
    away = settings(standin).model_copy(update={"stripe_api_base": "http://127.0.0.1:1"})
    async with stripe_api.connect(away) as api:
        with pytest.raises(StripeRetry, match="no answer"):
            await api.retrieve_intent("pi_1")


async def test_calls_keep_under_the_limit(standin: StandinProcess) -> None:
    slow = settings(standin).model_copy(update={"stripe_calls_per_second": 10})
    async with stripe_api.connect(slow) as api:
        started = time.monotonic()
        await asyncio.gather(
            *(api.create_intent(uuid4(), AMOUNT, "zar", str(uuid4())) for _ in range(14))
        )
    assert time.monotonic() - started > 0.3


# -- the loop ----------------------------------------------------------------------------------


@asynccontextmanager
async def charging(bench: Bench, connect: Connect, slots: int) -> AsyncIterator[None]:
    """Run the workers."""
    workers = Charging(connect, bench.terms, slots=slots, key_lifetime=DAY)
    bench.on_wake = workers.wake
    # Of a service, the workers use the pool and transactions, which the bench has.
    task = asyncio.create_task(workers.run(cast("Service", bench)))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def to(standin: StandinProcess) -> Connect:
    return partial(stripe_api.connect, settings(standin))


async def status(bench: Bench, order_id: UUID) -> str:
    return str((await bench.payment(order_id))["status"])


async def test_a_call_is_made_at_once_and_a_slow_one_holds_back_no_other(
    bench: Bench, standin: StandinProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_LOOK_EVERY", 60.0)  # woken, not polled
    await standin.fault("delay", operation=CREATE, count=1, delay_ms=1_500)
    async with charging(bench, to(standin), slots=2):
        await asyncio.sleep(0.2)
        slow, *others = (uuid4() for _ in range(12))
        await bench.hear(request(slow))
        await asyncio.sleep(0.1)
        await bench.hear(*(request(order_id) for order_id in others))

        async def others_done() -> bool:
            return {await status(bench, order_id) for order_id in others} == {"open"}

        await eventually(others_done, "the others' intents")
        assert await status(bench, slow) == "creating"

        async def slow_done() -> bool:
            return await status(bench, slow) == "open"

        await eventually(slow_done, "the slow intent")


async def test_a_refused_call_is_repeated_by_the_loop(
    bench: Bench, standin: StandinProcess
) -> None:
    await standin.fault("rate_limit", operation=CREATE, count=2)
    async with charging(bench, to(standin), slots=4):
        order_id = uuid4()
        await bench.hear(request(order_id))

        async def done() -> bool:
            return await status(bench, order_id) == "open"

        await eventually(done, "the intent")


async def test_a_clean_stop_records_what_is_under_way(
    bench: Bench, standin: StandinProcess
) -> None:
    await standin.fault("delay", operation=CREATE, count=1, delay_ms=500)
    order_id = uuid4()
    async with charging(bench, to(standin), slots=2):
        await bench.hear(request(order_id))
        await asyncio.sleep(0.2)
    assert await status(bench, order_id) == "open"
    assert await bench.fetch("SELECT FROM stripe_calls") == []


async def test_one_outcome_that_cannot_be_recorded_holds_back_no_other(bench: Bench) -> None:
    both = asyncio.Barrier(2)

    class Together(Unpaid):
        async def create_intent(self, *asked: Any) -> Intent:
            await both.wait()  # so that both outcomes are recorded in one transaction
            return await super().create_intent(*asked)

    broken, sound = uuid4(), uuid4()
    await bench.hear(request(broken), request(sound))
    await bench.fetch(
        f"ALTER TABLE payments ADD CONSTRAINT out_of_order CHECK (order_id <> '{broken}') NOT VALID"
    )
    try:
        async with charging(bench, lambda: nullcontext(Together()), slots=4):

            async def recorded() -> bool:
                return await status(bench, sound) == "open"

            await eventually(recorded, "the other's intent")
    finally:
        await bench.fetch("ALTER TABLE payments DROP CONSTRAINT out_of_order")
    assert await status(bench, broken) == "creating"
    assert len(await bench.fetch("SELECT FROM stripe_calls")) == 1, "it stays in the queue"
