"""Payments open too long are looked up at Stripe: seldom, one call each, and settled as always."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from contracts.payment import (
    CheckPayment,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentSucceeded,
    RefundFailed,
)
from services.kit.work import Work
from services.payment import stripe_api
from services.payment.checking import check_open_payments
from services.payment.provider import Provider
from services.payment.stripe_api import StripeApi
from tests.payment.bench import Bench, cancel, refund, request
from tests.payment.test_charging import ledger, opened, settings
from tests.standin.process import StandinProcess, eventually

TEN_MINUTES = timedelta(minutes=10)
A_SECOND = timedelta(seconds=1)


@pytest.fixture
async def api(standin: StandinProcess) -> AsyncIterator[StripeApi]:
    async with stripe_api.connect(settings(standin)) as api:
        yield api


async def look(bench: Bench) -> set[UUID]:
    """Look once; the orders whose check is queued."""
    async with bench.transaction() as work:
        await check_open_payments(work, TEN_MINUTES, bench.wake)
    rows = await bench.fetch("SELECT order_id FROM stripe_calls WHERE kind = 'retrieve_intent'")
    return {row["order_id"] for row in rows}


async def grow_older(bench: Bench, by: timedelta) -> None:
    """As if everything had happened so much earlier, the last look included."""
    await bench.fetch("UPDATE payments SET created_at = created_at - $1::interval", by)
    await bench.fetch("UPDATE refunds SET created_at = created_at - $1::interval", by)
    await bench.fetch("UPDATE reconciliation SET reached = reached - $1::interval", by)


async def test_a_payment_whose_news_are_gone_is_found(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    """No webhook came, and Stripe's list of events is not asked."""
    order_id, intent = await opened(bench, api)
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_visa"})
    assert await look(bench) == set()
    await grow_older(bench, TEN_MINUTES)
    woken = bench.woken
    assert await look(bench) == {order_id}
    assert bench.woken == woken + 1
    (said,) = await bench.call(api)
    assert isinstance(said, PaymentSucceeded)
    assert (await bench.payment(order_id))["status"] == "succeeded"


async def test_a_decline_whose_news_are_gone_is_found(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    with suppress(Exception):
        await standin.intents.confirm_async(intent, {"payment_method": "pm_card_chargeDeclined"})
    await grow_older(bench, TEN_MINUTES)
    await look(bench)
    (said,) = await bench.call(api)
    assert isinstance(said, PaymentFailed)
    assert (said.order_id, said.message) == (order_id, "Your card was declined.")


async def test_the_pauses_between_two_checks_grow(bench: Bench, api: StripeApi) -> None:
    """At 10, 20, 40, ... minutes, whenever one looks."""
    order_id, _ = await opened(bench, api)
    before = (await bench.payment(order_id))["version"]
    checked = []
    for minute in range(1, 201):
        await grow_older(bench, timedelta(minutes=1))
        if await look(bench):
            assert await bench.call_until_done(api) == []
            checked.append(minute)
    assert checked == [10, 20, 40, 80, 160]
    assert (await bench.payment(order_id))["version"] == before, "nothing to audit"


async def test_after_a_long_stop_a_payment_is_checked_once(bench: Bench, api: StripeApi) -> None:
    order_id, _ = await opened(bench, api)
    await grow_older(bench, timedelta(days=3))
    assert await look(bench) == {order_id}
    await bench.call_until_done(api)
    assert await look(bench) == set()


async def test_what_has_ended_or_has_a_call_under_way_is_left_alone(
    bench: Bench, api: StripeApi
) -> None:
    canceled, _ = await opened(bench, api)
    await bench.hear(cancel(canceled))
    await bench.call(api)
    cancelling, _ = await opened(bench, api)
    await bench.hear(cancel(cancelling))
    await bench.hear(request(uuid4()))
    await grow_older(bench, TEN_MINUTES)
    assert await look(bench) == set()


async def test_many_are_checked_in_a_trickle_the_oldest_first_and_none_is_left_out(
    bench: Bench, api: Provider
) -> None:
    first = [(await opened(bench, api))[0] for _ in range(3)]
    together = [uuid4() for _ in range(60)]  # of one moment
    await bench.hear(*(request(order_id) for order_id in together))
    await bench.call_until_done(api)
    last = [(await opened(bench, api))[0] for _ in range(30)]
    await grow_older(bench, TEN_MINUTES)
    seen = []
    for _ in range(4):
        seen.append(await look(bench))
        await bench.call_until_done(api)
    assert seen == [{*first, *together}, set(last[:25]), set(last[25:]), set()]


async def test_those_that_have_ended_take_nobodys_place(bench: Bench, api: StripeApi) -> None:
    await bench.hear(*(cancel(uuid4()) for _ in range(40)))
    order_id, _ = await opened(bench, api)
    await grow_older(bench, TEN_MINUTES)
    assert await look(bench) == {order_id}


async def test_two_replicas_queue_one_check(bench: Bench, api: StripeApi) -> None:
    order_id, _ = await opened(bench, api)
    await grow_older(bench, TEN_MINUTES)
    await asyncio.gather(*(look(bench) for _ in range(4)))
    assert await look(bench) == {order_id}
    assert (await bench.payment(order_id))["calls"] == 2, "the intent, and one check"


async def test_a_look_that_is_not_committed_is_made_again(bench: Bench, api: StripeApi) -> None:
    order_id, _ = await opened(bench, api)
    await grow_older(bench, TEN_MINUTES)
    async with bench.pool.acquire() as db:
        power_failure = db.transaction()
        await power_failure.start()
        await check_open_payments(Work(db, "payment"), TEN_MINUTES, bench.wake)
        await power_failure.rollback()
    assert await look(bench) == {order_id}


async def test_a_refund_on_its_way_is_checked_and_its_failure_found(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_refundFail"})
    await grow_older(bench, TEN_MINUTES)
    await look(bench)
    await bench.call(api)
    await bench.hear(refund(order_id))
    await bench.call(api)
    await bench.fetch("UPDATE refunds SET status = 'pending'")  # as a bank's would be

    async def failed_at_stripe() -> bool:
        (entry,) = await ledger(standin, order_id)
        return bool(entry["refunds"][0]["status"] == "failed")

    await eventually(failed_at_stripe, "the refund's failure")
    await grow_older(bench, TEN_MINUTES - A_SECOND)
    assert await look(bench) == set()
    await grow_older(bench, A_SECOND)
    assert await look(bench) == {order_id}
    (said,) = await bench.call_until_done(api)
    assert isinstance(said, RefundFailed)
    assert said.amount_refunded == 0


# -- somebody asks -----------------------------------------------------------------------------


def check(order_id: UUID) -> CheckPayment:
    return CheckPayment(order_id=order_id, requested_by="naledi", reason="a receipt was shown")


async def test_who_asks_hears_where_a_payment_stands_and_then_how_it_is(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    order_id, intent = await opened(bench, api)
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_visa"})
    (stands,) = await bench.hear(check(order_id), source="ops")
    assert isinstance(stands, PaymentIntentCreated)
    (said,) = await bench.call_until_done(api)
    assert isinstance(said, PaymentSucceeded)
    assert (await bench.payment(order_id))["status"] == "succeeded"


async def test_a_refund_of_a_payment_that_has_ended_is_found_when_somebody_asks(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    """Made in Stripe's dashboard, and no event of it came."""
    order_id, intent = await opened(bench, api)
    await standin.intents.confirm_async(intent, {"payment_method": "pm_card_visa"})
    await bench.hear(check(order_id))
    await bench.call_until_done(api)
    await standin.refunds.create_async({"payment_intent": intent, "amount": 500})
    (stands,) = await bench.hear(check(order_id))
    assert isinstance(stands, PaymentSucceeded)
    (said,) = await bench.call_until_done(api)
    assert isinstance(said, PaymentPartiallyRefunded)
    assert said.amount_refunded == 500


async def test_many_who_ask_at_once_make_one_call(bench: Bench, api: StripeApi) -> None:
    order_id, _ = await opened(bench, api)
    for _ in range(3):
        await bench.hear(check(order_id), check(order_id))
    await bench.call_until_done(api)
    assert (await bench.payment(order_id))["calls"] == 2, "the intent, and one check"


async def test_without_an_intent_there_is_nothing_to_ask_for(bench: Bench, api: StripeApi) -> None:
    canceled = uuid4()
    await bench.hear(cancel(canceled))
    before = (await bench.payment(canceled))["calls"]
    await bench.hear(check(canceled))
    assert await bench.hear(check(uuid4())) == []
    assert (await bench.payment(canceled))["calls"] == before


async def test_a_payment_that_cannot_be_checked_holds_up_no_other(
    bench: Bench, api: StripeApi
) -> None:
    orders = [(await opened(bench, api))[0] for _ in range(5)]
    culprit = orders[2]
    await bench.fetch(
        "ALTER TABLE payments ADD CONSTRAINT refused"
        f" CHECK (order_id <> '{culprit}' OR NOT calling)"
    )
    await grow_older(bench, TEN_MINUTES)
    assert await look(bench) == set(orders) - {culprit}
    await bench.fetch("ALTER TABLE payments DROP CONSTRAINT refused")
    assert culprit not in await look(bench)
    await grow_older(bench, TEN_MINUTES)  # it is tried again at twice its age
    assert culprit in await look(bench)
