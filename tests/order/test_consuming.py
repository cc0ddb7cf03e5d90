"""A batch with an order that cannot be read: its message fails alone, and comes back by itself."""

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from contracts.message import Message
from deploy.local.stack import LocalStack
from services.kit.db import Pool, open_pool
from services.kit.messages import Record
from services.kit.outbox import Outbox
from services.kit.parking import Replayer
from services.kit.processor import BatchProcessor
from services.kit.publisher import Publisher
from services.kit.work import UnitOfWork
from services.order.dead_letters import replay_dead_letters
from services.order.deadlines import Timing
from services.order.handlers import OrderHandlers
from tests.conftest import Migrated
from tests.messages import outgoing
from tests.order.conftest import MIGRATIONS, place, reserved

TIMING = Timing(reservation=timedelta(minutes=30), step=timedelta(seconds=15))


class Consuming:
    """The order service's part of a consumer, and of its timers."""

    def __init__(self, pool: Pool, publisher: Publisher) -> None:
        self.pool = pool
        self.work = UnitOfWork(pool, Outbox(pool, publisher, timedelta(seconds=30)), "order")
        self.processor = BatchProcessor(
            "order",
            self.work,
            OrderHandlers(TIMING).by_message(),
            attempts=2,
            inbox_retention=timedelta(days=14),
        )
        self._offsets = count()

    async def batch(self, *messages: Message) -> None:
        await self.processor.process([self._record(message) for message in messages])

    def _record(self, message: Message) -> Record:
        sent = outgoing(message)
        headers: Any = tuple(sent.kafka_headers())
        return Record(sent.topic, 0, next(self._offsets), sent.key, headers, sent.payload.encode())

    async def replay(self) -> None:
        async with self.work.begin() as work:
            await replay_dead_letters(work)
        accepted = self.processor.accepted
        await Replayer("order", self.work, accepted, self.processor.handler_of).run_due()

    async def states(self) -> dict[str, int]:
        rows = await self.pool.fetch("SELECT saga_state, count(*) FROM orders GROUP BY 1")
        return dict(map(tuple, rows))


@pytest.fixture
async def consuming(servers: LocalStack, migrated: Migrated) -> AsyncIterator[Consuming]:
    pool = await open_pool(await migrated(MIGRATIONS), size=3, application="test")
    publisher = Publisher(servers.kafka, "order")
    yield (it := Consuming(pool, publisher))
    await it.work.settle()
    await publisher.stop()
    await pool.close()


async def test_a_message_about_an_invalid_order_fails_alone_and_comes_back(
    consuming: Consuming,
) -> None:
    orders = [place() for _ in range(20)]
    await consuming.batch(*orders)
    broken, pool = orders[7].order_id, consuming.pool
    lines = await pool.fetchval("SELECT lines FROM orders WHERE id = $1", broken)
    await pool.execute("UPDATE orders SET lines = '[1]' WHERE id = $1", broken)
    await consuming.batch(*(reserved(order.order_id) for order in orders))
    assert await consuming.states() == {"requesting_payment": 19, "reserving": 1}
    (parked,) = await pool.fetch("SELECT key, reason FROM parked_messages")
    assert parked["key"] == str(broken)
    assert parked["reason"].startswith("InvalidOrder: ValidationError")

    await pool.execute("UPDATE orders SET lines = $2 WHERE id = $1", broken, lines)
    await pool.execute("UPDATE parked_messages SET parked_at = now() - interval '1 minute'")
    await consuming.replay()
    assert await consuming.states() == {"requesting_payment": 20}
    assert await pool.fetchval("SELECT state FROM parked_messages") == "replayed"
