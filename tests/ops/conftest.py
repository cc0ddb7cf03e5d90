"""An ops database with its two roles, fed with records as Kafka would, but without Kafka."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

import services.ops
from contracts.audit import OrderAudited
from contracts.message import Message
from contracts.order import OrderStatus, PaymentStatus
from deploy.local.stack import LocalStack
from services.kit import operations
from services.kit.db import Connection, Pool, open_pool
from services.kit.messages import Outgoing, Record
from services.kit.outbox import Outbox
from services.kit.processor import BatchProcessor
from services.kit.publisher import Publisher
from services.kit.work import UnitOfWork
from services.ops.counting import count_stock
from services.ops.observing import observe
from services.ops.verifying import Verdict, verify
from tests.conftest import Migrated
from tests.messages import outgoing
from tests.ops.cli import Cli

MIGRATIONS = Path(services.ops.__file__).parent / "migrations"
RETENTION = timedelta(days=100)


@dataclass
class Watch:
    """The ops service's part of a consumer: one batch after the other."""

    pool: Pool
    """As the runtime role."""
    owner: Connection
    """As a superuser, whom no trigger stops for long."""
    work: UnitOfWork
    processor: BatchProcessor
    offsets: Any = field(default_factory=count)

    def record(self, sent: Outgoing | Message, *, partition: int = 0, **changes: Any) -> Record:
        """A message on its topic, at the next place."""
        sent = outgoing(sent) if isinstance(sent, Message) else sent
        headers: Any = tuple(sent.kafka_headers())
        record = Record(
            sent.topic, partition, next(self.offsets), sent.key, headers, sent.payload.encode()
        )
        return record._replace(**changes)

    async def hears(self, *sent: Record | Outgoing | Message) -> list[Record]:
        """All in one batch."""
        batch = [each if isinstance(each, Record) else self.record(each) for each in sent]
        await self.processor.process(batch)
        return batch

    async def counts(self) -> None:
        """What the timer does, once."""
        async with self.work.begin() as work:
            await count_stock(work)

    async def verdict(self) -> Verdict:
        return await verify(self.pool, datetime.now(UTC) + timedelta(hours=1))

    async def tamper(self, statement: str, *values: Any) -> None:
        """As somebody who owns the database and wants to hide something."""
        await self.owner.execute("ALTER TABLE audit_records DISABLE TRIGGER ALL")
        await self.owner.execute(statement, *values)
        await self.owner.execute("ALTER TABLE audit_records ENABLE TRIGGER ALL")


@pytest.fixture
async def watch(servers: LocalStack, migrated: Migrated) -> AsyncIterator[Watch]:
    database = await migrated(MIGRATIONS)
    name = database.rpartition("/")[2]
    runtime = servers.postgres_server.dsn(name, role="ops_runtime")
    pool = await open_pool(runtime, size=4, application="ops")
    owner = await asyncpg.connect(database)
    publisher = Publisher(servers.kafka, "test")
    work = UnitOfWork(pool, Outbox(pool, publisher, timedelta(seconds=5)), "ops")
    handlers = operations.handlers("ops")
    yield Watch(
        pool,
        owner,
        work,
        BatchProcessor(
            "ops", work, handlers, attempts=2, inbox_retention=RETENTION, observer=observe
        ),
    )
    await work.settle()
    await publisher.stop()
    await owner.close()
    async with asyncio.timeout(5):
        await pool.close()


STATUSES = (OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.PROCESSING)


def history(order_id: UUID | None = None, versions: int = 3) -> list[OrderAudited]:
    """The audit of an order that goes its way."""
    order_id = order_id or uuid4()
    return [
        OrderAudited(
            order_id=order_id,
            version=version,
            action="order.place-order.v1",
            old_status=STATUSES[version - 2] if version > 1 else None,
            new_status=STATUSES[version - 1],
            payment_status=PaymentStatus.UNPAID,
            saga_state="reserving" if version == 1 else "confirmed",
            total=None,
            currency="zar",
            changed_by="order-service",
            reason=None,
            admin_notes=None,
            at=datetime(2026, 11, 24, 8, version, tzinfo=UTC),
        )
        for version in range(1, versions + 1)
    ]


# -- the running system ------------------------------------------------------------------------


@pytest.fixture
def cli(stack: LocalStack) -> Cli:
    return Cli(stack)


def asked_by(stack: LocalStack, person: str, role: str) -> httpx.AsyncClient:
    """The ops service, for somebody with a role; to be closed."""
    return httpx.AsyncClient(
        base_url=stack.url("ops"),
        headers={"Authorization": f"Bearer {stack.token(person, role)}"},
        trust_env=False,
        timeout=30,
    )
