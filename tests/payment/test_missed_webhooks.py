"""The whole payment service, with Kafka, PostgreSQL and a Stripe that has no webhook endpoint."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from contracts.stripe import StripeEventReceived
from deploy.local.stack import LocalStack
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from services.payment.app import build
from services.payment.settings import PaymentSettings
from tests.kit.conftest import eventually
from tests.messages import outgoing
from tests.payment.bench import request
from tests.standin.process import StandinProcess, running

HASTY = 1.0


class World:
    """A shop whose webhooks never come."""

    def __init__(self, kafka: str, dsn: str, stripe: StandinProcess) -> None:
        self.stripe = stripe
        self._kafka = kafka
        self._dsn = dsn
        self._publisher = Publisher(kafka, "test")
        self._replicas = AsyncExitStack()

    async def start_replica(self, **changes: Any) -> None:
        settings = PaymentSettings(
            database_url=self._dsn,
            kafka_bootstrap_servers=self._kafka,
            http_port=0,
            stripe_secret_key="sk_test_payment",
            stripe_api_base=self.stripe.url,
            **{"reconcile_seconds": HASTY} | changes,
        )
        service = build(settings)
        await self._replicas.enter_async_context(service.lifespan())
        await eventually(service.readiness, lambda missing: missing == {})

    async def stop(self) -> None:
        await self._replicas.aclose()
        await self._publisher.stop()

    async def send(self, *messages: Outgoing) -> None:
        await self._publisher.publish(messages)

    async def rows(self, query: str, *values: Any) -> list[asyncpg.Record]:
        db = await asyncpg.connect(self._dsn)
        try:
            return await db.fetch(query, *values)
        finally:
            await db.close()

    async def payments(self, **expected: Any) -> list[asyncpg.Record]:
        """All payments, once each is as expected."""

        def as_expected(rows: list[asyncpg.Record]) -> bool:
            return bool(rows) and all(row[k] == v for row in rows for k, v in expected.items())

        found: list[asyncpg.Record] = await eventually(
            lambda: self.rows("SELECT * FROM payments"), as_expected
        )
        return found

    async def opened(self, count: int = 1) -> list[asyncpg.Record]:
        orders = [uuid4() for _ in range(count)]
        await self.send(*(outgoing(request(order_id)) for order_id in orders))
        await eventually(lambda: self.rows("SELECT FROM payments"), lambda r: len(r) == count)
        return await self.payments(status="open")

    async def pay(self, payments: Sequence[asyncpg.Record]) -> None:
        for payment in payments:
            await self.stripe.intents.confirm_async(
                payment["payment_intent_id"], {"payment_method": "pm_card_visa"}
            )

    async def events(self) -> list[asyncpg.Record]:
        return await self.rows("SELECT event_type, outcome, found FROM stripe_events")

    async def lists(self) -> int:
        """How often Stripe was asked for its list."""
        calls = (await self.stripe.control("GET", "/requests"))["operations"]
        return sum(calls.get("list_events", {}).values())


@pytest.fixture
async def world(servers: LocalStack, tmp_path: Path) -> AsyncIterator[World]:
    dsn = servers.create_database(f"payment_{uuid4().hex[:8]}")
    async with running(tmp_path / "stripe.sqlite3") as stripe:
        made = World(servers.kafka, dsn, stripe)
        yield made
        await made.stop()


def missed() -> float:
    return REGISTRY.get_sample_value("orderflow_webhooks_missed_total") or 0


async def test_a_payment_is_confirmed_although_its_webhook_never_came(world: World) -> None:
    await world.start_replica()
    before = missed()
    await world.pay(await world.opened())
    with capture_logs() as logs:
        (payment,) = await world.payments(status="succeeded")
        await asyncio.sleep(3 * HASTY)  # the next turns list the same again
    assert sorted(tuple(row) for row in await world.events()) == [
        ("payment_intent.created", "stale", True),
        ("payment_intent.succeeded", "applied", True),
    ]
    assert missed() == before + 2
    found = [line for line in logs if line["event"] == "events taken from Stripe's list"]
    assert sum(line["events"] for line in found) == 2
    (after,) = await world.payments()
    assert after == payment


async def test_the_webhook_that_comes_after_all_is_a_repeat(world: World) -> None:
    await world.start_replica()
    await world.pay(await world.opened())
    (payment,) = await world.payments(status="succeeded")
    page = await world.stripe.client.v1.events.list_async({"type": "payment_intent.succeeded"})
    event = StripeEventReceived.from_event(page.data[0].to_dict())
    repeats = REGISTRY.get_sample_value("orderflow_messages_duplicate_total") or 0
    await world.send(
        Outgoing.of(event, source="gateway", time="2026-11-24", message_id=event.message_id)
    )

    async def told() -> float:
        return REGISTRY.get_sample_value("orderflow_messages_duplicate_total") or 0

    await eventually(told, lambda seen: seen == repeats + 1)
    assert await world.payments() == [payment]


async def test_a_webhook_that_comes_in_time_is_not_found(world: World) -> None:
    await world.start_replica(reconcile_seconds=3)
    before = missed()
    await world.pay(await world.opened())
    page = await world.stripe.client.v1.events.list_async({"limit": 10})
    for listed in page.data:
        event = StripeEventReceived.from_event(listed.to_dict())
        await world.send(
            Outgoing.of(event, source="gateway", time="2026-11-24", message_id=event.message_id)
        )
    await world.payments(status="succeeded")
    seen = await world.lists()
    await eventually(world.lists, lambda asked: asked > seen + 1)
    assert missed() == before
    assert not any(row["found"] for row in await world.events())


async def test_more_than_a_page_of_webhooks_is_found(world: World) -> None:
    await world.start_replica(reconcile_seconds=2)
    payments = await world.opened(70)
    await world.pay(payments)
    await world.payments(status="succeeded")
    await eventually(world.events, lambda rows: len(rows) == 140)


async def test_two_replicas_ask_as_often_as_one(world: World) -> None:
    await world.start_replica(reconcile_seconds=3)
    await world.start_replica(reconcile_seconds=3)
    before = missed()
    await world.pay(await world.opened())
    await world.payments(status="succeeded")
    assert missed() == before + 2
    asked = await world.lists()
    await asyncio.sleep(9)
    assert 1 <= await world.lists() - asked <= 3


async def test_a_dispute_is_flagged_and_cleared_without_a_webhook(world: World) -> None:
    await world.start_replica()
    (payment,) = await world.opened()
    await world.pay([payment])
    await world.payments(status="succeeded")
    intent = payment["payment_intent_id"]
    dispute = await world.stripe.control("POST", f"/payment_intents/{intent}/dispute")
    (flagged,) = await world.payments(disputed=True)
    assert (flagged["status"], flagged["amount_refunded"]) == ("succeeded", 0)
    await world.stripe.client.v1.disputes.close_async(dispute["id"])
    (cleared,) = await world.payments(disputed=False)
    assert cleared["disputes"] == f'{{"{dispute["id"]}": "lost"}}'


async def test_a_payment_open_too_long_is_found_without_stripes_list(world: World) -> None:
    await world.start_replica(reconcile_seconds=3_600, open_too_long_seconds=1)
    await world.pay(await world.opened())
    await world.payments(status="succeeded")
    assert await world.events() == []
    assert await world.lists() == 0
