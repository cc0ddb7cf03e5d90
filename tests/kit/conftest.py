"""A service made of the kit alone, and somebody who sends it messages."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.inventory import RestoreStock, StockRestored
from contracts.message import Message
from contracts.topics import Topic
from deploy.local.stack import LocalStack
from services.kit.messages import Incoming, Outgoing
from services.kit.publisher import Publisher
from services.kit.service import Service
from services.kit.settings import ServiceSettings
from services.kit.work import Handler, Work
from tests.messages import outgoing

POISON = "poison"
"""A RestoreStock with this reason makes the handler raise."""


async def restore(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
    """Insert one row per message, and answer it."""
    if any(m.message.reason == POISON for m in messages):
        raise ValueError("this message always fails")
    await work.db.executemany(
        "INSERT INTO effects (order_id, reason) VALUES ($1, $2)",
        [(m.message.order_id, m.message.reason) for m in messages],
    )
    for m in messages:
        work.send(StockRestored(order_id=m.message.order_id), m)


MIGRATION = """-- migrate:up
CREATE TABLE effects (
    id bigint GENERATED ALWAYS AS IDENTITY, order_id uuid NOT NULL, reason text NOT NULL);
-- migrate:down
DROP TABLE effects;
"""


class Bench:
    """One topic, one database, and services that share them."""

    def __init__(self, servers: LocalStack, dsn: str, topic: Topic, migrations: Path) -> None:
        self.kafka = servers.kafka
        self.dsn = dsn
        self.topic = topic
        self.migrations = migrations
        self.publisher = Publisher(servers.kafka, "test")

    def settings(self, **changes: Any) -> ServiceSettings:
        given = {"outbox_lease_seconds": 1.0, "message_attempts": 2} | changes
        return ServiceSettings(
            database_url=self.dsn, kafka_bootstrap_servers=self.kafka, http_port=0, **given
        )

    def service(
        self, handlers: dict[type[Message], Handler] | None = None, **changes: Any
    ) -> Service:
        return Service(
            name="inventory",
            settings=self.settings(**changes),
            migrations=self.migrations,
            consumes=(self.topic,),
            handlers=handlers or {RestoreStock: restore},
        )

    @asynccontextmanager
    async def running(
        self, handlers: dict[type[Message], Handler] | None = None, **changes: Any
    ) -> AsyncIterator[Service]:
        service = self.service(handlers, **changes)
        async with service.lifespan():
            await eventually(service.readiness, lambda missing: missing == {})
            yield service

    def order(self, reason: str = "ok", order_id: UUID | None = None) -> Outgoing:
        """A message on its way to the service's topic."""
        message = RestoreStock(order_id=order_id or uuid4(), reason=reason)
        return self.to_topic(outgoing(message))

    def to_topic(self, made: Outgoing) -> Outgoing:
        return made._replace(topic=self.topic.name)

    async def send(self, *messages: Outgoing) -> None:
        await self.publisher.publish(messages)

    async def records(self, topic: str, count: int) -> "list[ConsumerRecord[bytes, bytes]]":
        """The first records of a topic, waiting until there are so many."""
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=self.kafka, auto_offset_reset="earliest"
        )
        await consumer.start()
        found: list[ConsumerRecord[bytes, bytes]] = []
        try:
            async with asyncio.timeout(20):
                while len(found) < count:
                    for batch in (await consumer.getmany(timeout_ms=100)).values():
                        found += batch
        finally:
            await consumer.stop()
        return found


@pytest.fixture
async def bench(servers: LocalStack, database: str, tmp_path: Path) -> AsyncIterator[Bench]:
    topic = Topic(f"test.{uuid4().hex[:12]}", owner="inventory", key="order_id", partitions=3)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic.name, topic.partitions, 1)])
    await admin.close()
    (tmp_path / "0101_effects.sql").write_text(MIGRATION)
    made = Bench(servers, database, topic, tmp_path)
    yield made
    await made.publisher.stop()


async def eventually(
    look: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], *, seconds: float = 20
) -> Any:
    """What `look` found once it was good."""
    seen = None
    try:
        async with asyncio.timeout(seconds):
            while not good(seen := await look()):  # noqa: ASYNC110  # looks at another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"still {seen!r} after {seconds} s") from None
    return seen


async def effects(service: Service) -> list[tuple[UUID, str]]:
    """The rows of the handler, in the order of their making."""
    async with service.pool.acquire() as db:
        rows = await db.fetch("SELECT order_id, reason FROM effects ORDER BY id")
    return [(row["order_id"], row["reason"]) for row in rows]


async def parked(service: Service) -> list[tuple[str, str]]:
    async with service.pool.acquire() as db:
        rows = await db.fetch("SELECT state, reason FROM parked_messages ORDER BY id")
    return [(row["state"], row["reason"]) for row in rows]


async def unsent(service: Service) -> int:
    async with service.pool.acquire() as db:
        count: int = await db.fetchval("SELECT count(*) FROM outbox")
    return count
