"""Webhooks: signed when sent, at least once, and not in each other's way."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
import stripe

from tests.standin.process import StandinProcess, eventually, running
from tests.standin.receiver import Receiver, listening


async def test_a_webhook_is_sent_until_it_is_answered(
    standin: StandinProcess, hooks: Receiver
) -> None:
    hooks.answers = [500, 503, 400]

    intent = await standin.open()

    await hooks.gets("payment_intent.created", intent=intent.id)
    assert hooks.rejected == 3
    (event,) = (
        await standin.client.v1.events.list_async({"type": "payment_intent.created", "limit": 1})
    ).data

    async def delivered() -> bool:
        return (await standin.client.v1.events.retrieve_async(event.id)).pending_webhooks == 0

    await eventually(delivered, "the event being delivered")


async def test_every_attempt_is_signed_at_its_own_time(
    standin: StandinProcess, hooks: Receiver
) -> None:
    await standin.fault("webhook_delayed", delay_ms=1100, count=1)

    await standin.open()

    await hooks.gets("payment_intent.created")
    created = hooks.events[0].created
    assert time.time() - created >= 1.1  # and the signature was accepted


async def test_a_slow_endpoint_holds_up_nobody_else(
    standin: StandinProcess, hooks: Receiver
) -> None:
    async with listening(Receiver()) as slow:
        slow.pause = 0.4
        endpoint = await standin.client.v1.webhook_endpoints.create_async(
            {"url": slow.url, "enabled_events": ["payment_intent.created"]}
        )
        slow.secret = endpoint.secret or ""
        started = time.monotonic()
        await asyncio.gather(*(standin.open() for _ in range(80)))

        await hooks.until(lambda types: len(types) == 80, "80 events at the fast endpoint")
        fast_after = time.monotonic() - started
        await slow.until(lambda types: len(types) == 80, "80 events at the slow endpoint")

        await standin.client.v1.webhook_endpoints.delete_async(endpoint.id)
    assert 1 < slow.most_at_once <= 50
    assert fast_after < time.monotonic() - started


async def test_only_the_types_that_an_endpoint_wants(standin: StandinProcess) -> None:
    async with listening(Receiver()) as receiver:
        endpoint = await standin.client.v1.webhook_endpoints.create_async(
            {"url": receiver.url, "enabled_events": ["payment_intent.succeeded"]}
        )
        receiver.secret = endpoint.secret or ""
        await standin.paid()
        await receiver.gets("payment_intent.succeeded")
        listed = await standin.client.v1.webhook_endpoints.list_async()
        await standin.client.v1.webhook_endpoints.update_async(endpoint.id, {"disabled": True})
        await standin.paid()
        await asyncio.sleep(0.1)
        await standin.client.v1.webhook_endpoints.delete_async(endpoint.id)

    assert receiver.types() == ["payment_intent.succeeded"]
    assert "secret" not in listed.data[0]


async def test_an_endpoint_with_a_wrong_url_is_refused(standin: StandinProcess) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Invalid URL"):
        await standin.client.v1.webhook_endpoints.create_async(
            {"url": "localhost:8000", "enabled_events": ["*"]}
        )


async def test_what_was_owed_before_a_crash_is_delivered_after_it(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.secret = "whsec_first"
    settings = {
        "STANDIN_WEBHOOK_URL": receiver.url,
        "STRIPE_WEBHOOK_SECRET": "whsec_first,whsec_second",
    }
    async with running(tmp_path / "db", **settings) as standin:
        intent = await standin.open()  # nobody listens
        requests = await standin.control("GET", "/requests")
        assert requests["operations"]["create_payment_intent"] == {"200": 1}

        async with listening(receiver):
            await standin.gone_and_back()
            await receiver.gets("payment_intent.created", intent=intent.id)

            async def counted() -> bool:
                webhooks = (await standin.control("GET", "/requests"))["webhooks"]
                return bool(webhooks["delivered"] == 1 and webhooks["due"] == 0)

            await eventually(counted, "the delivery being counted")


async def test_what_was_being_sent_when_it_crashed_is_sent_again(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.secret = "whsec_local"
    receiver.pause = 30.0
    settings = {"STANDIN_WEBHOOK_URL": receiver.url, "STRIPE_WEBHOOK_SECRET": "whsec_local"}
    async with running(tmp_path / "db", **settings) as standin, listening(receiver):
        intent = await standin.open()

        async def being_sent() -> bool:
            return receiver.at_once == 1

        await eventually(being_sent, "the delivery being under way")
        await standin.stop(signal.SIGKILL)
        receiver.pause = 0.0
        await standin.start()

        await receiver.gets("payment_intent.created", intent=intent.id)
