"""Faults strike when, where and as often as they were asked for, and tell the truth afterwards."""

import asyncio
import time

import pytest
import stripe

from tests.standin.process import StandinProcess
from tests.standin.receiver import Receiver

OPERATION = "create_payment_intent"


async def _create(standin: StandinProcess, order_id: str) -> stripe.PaymentIntent:
    return await standin.intents.create_async(
        {"amount": 12000, "currency": "zar", "metadata": {"order_id": order_id}},
        {"idempotency_key": order_id},
    )


async def _intents_of(standin: StandinProcess, order_id: str) -> int:
    return len((await standin.control("GET", f"/ledger?order_id={order_id}"))["data"])


async def test_a_rate_limit_strikes_the_next_calls_of_one_operation(
    standin: StandinProcess,
) -> None:
    await standin.fault("rate_limit", operation=OPERATION, count=2)

    for _ in range(2):
        with pytest.raises(stripe.RateLimitError):
            await _create(standin, "order-429")
        await standin.intents.list_async({"limit": 1})  # another operation is not struck

    assert (await _create(standin, "order-429")).id
    assert (await standin.control("GET", "/faults"))["faults"] == []


@pytest.mark.parametrize(
    ("kind", "intents_after_fault", "retry_works"),
    [("error_before", 0, True), ("stored_error", 0, False), ("error_after", 1, False)],
)
async def test_a_500_with_and_without_effect_and_memory(
    standin: StandinProcess, kind: str, intents_after_fault: int, retry_works: bool
) -> None:
    await standin.fault(kind, operation=OPERATION, count=1)
    order = f"order-{kind}"

    with pytest.raises(stripe.APIError):
        await _create(standin, order)

    assert await _intents_of(standin, order) == intents_after_fault
    if retry_works:
        await _create(standin, order)
    else:
        with pytest.raises(stripe.APIError):  # stored under the key
            await _create(standin, order)
    assert await _intents_of(standin, order) == max(intents_after_fault, int(retry_works))


async def test_a_lost_answer_is_found_under_its_key(standin: StandinProcess) -> None:
    await standin.fault("lost_answer", operation=OPERATION, count=1)

    with pytest.raises(stripe.APIConnectionError):
        await _create(standin, "order-lost")
    assert await _intents_of(standin, "order-lost") == 1

    found = await _create(standin, "order-lost")
    assert found.metadata["order_id"] == "order-lost"
    assert await _intents_of(standin, "order-lost") == 1


async def test_a_refund_whose_answer_is_lost_happens_once(standin: StandinProcess) -> None:
    intent = await standin.paid(metadata={"order_id": "order-refund-lost"})
    await standin.fault("lost_answer", operation="create_refund", count=1)

    with pytest.raises(stripe.APIConnectionError):
        await standin.refunds.create_async({"payment_intent": intent.id}, {"idempotency_key": "r"})
    await standin.refunds.create_async({"payment_intent": intent.id}, {"idempotency_key": "r"})

    (entry,) = (await standin.control("GET", "/ledger?order_id=order-refund-lost"))["data"]
    assert [refund["amount"] for refund in entry["refunds"]] == [12000]


async def test_calls_are_delayed(standin: StandinProcess) -> None:
    await standin.fault("delay", delay_ms=150)

    started = time.monotonic()
    await _create(standin, "order-slow")

    assert time.monotonic() - started >= 0.15


async def test_a_rate_strikes_some(standin: StandinProcess) -> None:
    await standin.fault("error_before", operation="list_events", rate=0.5)

    statuses = [(await standin.call("GET", "/v1/events"))[0] for _ in range(40)]

    assert 5 < statuses.count(500) < 35


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "meteor"},
        {"kind": "delay"},
        {"kind": "rate_limit", "rate": 2},
        {"kind": "rate_limit", "typo": 1},
        {"kind": "rate_limit", "operation": "create_payment"},
        {"kind": "webhook_held", "operation": "create_refund"},
    ],
)
async def test_a_fault_that_could_never_strike_is_refused(
    standin: StandinProcess, rule: dict[str, object]
) -> None:
    status, answer = await standin.call("POST", "/_control/faults", json=rule)

    assert status == 400
    assert answer["error"]["message"]


async def test_webhooks_are_doubled(standin: StandinProcess, hooks: Receiver) -> None:
    await standin.fault("webhook_doubled", operation="payment_intent.created", count=1)

    await standin.open()

    await hooks.until(
        lambda types: types == ["payment_intent.created"] * 2, "the event and its double"
    )
    assert len({event.id for event in hooks.events}) == 1


async def test_webhooks_are_held_until_released(standin: StandinProcess, hooks: Receiver) -> None:
    await standin.fault("webhook_held")
    await standin.paid()
    await asyncio.sleep(0.15)
    assert hooks.events == []

    released = await standin.control("POST", "/webhooks/release")

    assert released == {"released": 3}
    await hooks.gets("payment_intent.created", "charge.succeeded", "payment_intent.succeeded")


async def test_a_dropped_webhook_is_in_the_event_list_and_can_be_sent_again(
    standin: StandinProcess, hooks: Receiver
) -> None:
    await standin.fault("webhook_dropped", operation="payment_intent.canceled", count=1)
    intent = await standin.open()
    await standin.intents.cancel_async(intent.id)
    await hooks.gets("payment_intent.created")

    missed = await standin.client.v1.events.list_async({"delivery_success": False})

    dropped = next(e for e in missed.data if e.type == "payment_intent.canceled")
    assert dropped.pending_webhooks == 1
    assert hooks.types(intent.id) == ["payment_intent.created"]
    assert await standin.control("POST", f"/events/{dropped.id}/resend") == {"endpoints": 1}
    await hooks.gets("payment_intent.canceled", intent=intent.id)


async def test_webhooks_are_shuffled_and_delayed(standin: StandinProcess, hooks: Receiver) -> None:
    await standin.fault("webhook_shuffled", delay_ms=300)
    await standin.fault("webhook_delayed", operation="payment_intent.created", delay_ms=200)

    made = [(await standin.open()).id for _ in range(10)]

    await hooks.until(lambda types: len(types) == 10, "ten events")
    assert [event.data.object["id"] for event in hooks.events] != made
    assert {event.data.object["id"] for event in hooks.events} == set(made)
