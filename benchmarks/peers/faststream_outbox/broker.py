"""What the three services share: a database, Kafka, and the relay from one to the other.

A handler takes one message, changes its tables and publishes into the outbox, in one transaction;
the outbox's own subscriber relays each row to Kafka, under the order as key. This is the relay that
faststream-outbox documents, with its levers for throughput: workers, a larger fetch, and deletes in
batches (its handlers are idempotent).
"""

import os
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaResponse
from faststream_outbox import OutboxBroker, make_outbox_table, outbox_autovacuum_ddl
from pydantic import BaseModel
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

PREFIX = os.environ["PEER_PREFIX"]
WORKERS = 6
TABLE = "relay_outbox"

metadata = MetaData()
outbox_table = make_outbox_table(metadata, table_name=TABLE)
engine = create_async_engine(
    os.environ["PEER_DATABASE"].replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=3 * (WORKERS + 1) + 3 * WORKERS,  # of three relays, and of three handlers
)
outbox = OutboxBroker(engine, outbox_table=outbox_table, logger=None)
kafka = KafkaBroker(os.environ["PEER_KAFKA"], acks="all", enable_idempotence=True, logger=None)
session_of = async_sessionmaker(engine, expire_on_commit=False)


class OrderMessage(BaseModel):
    """Every message is about one order; each carries what the next service needs."""

    order_id: UUID
    product_id: UUID | None = None
    name: str | None = None
    price: int | None = None
    currency: str | None = None
    intent: str | None = None
    status: str | None = None


def reads(topic: str) -> Any:
    """Decorates the handler of a topic: one message at a time per partition, taken for done only
    after its transaction, and fetched anew after an error."""
    return kafka.subscriber(
        PREFIX + topic,
        # A group of its own: members that read other topics would make it rebalance as they come.
        group_id=f"peer.{os.environ['PEER_SERVICE']}.{topic}",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        auto_offset_reset="earliest",
        max_workers=WORKERS,
    )


def relays(topic: str) -> None:
    """Moves what is published for a topic from the outbox to Kafka."""

    @kafka.publisher(PREFIX + topic)
    @outbox.subscriber(
        topic,
        max_workers=WORKERS,
        fetch_batch_size=100,
        min_fetch_interval=0.01,
        terminal_flush_batch_size=50,
    )
    async def relay(body: dict[str, Any]) -> KafkaResponse:
        return KafkaResponse(body, key=str(body["order_id"]).encode())


async def send(session: AsyncSession, topic: str, message: OrderMessage) -> None:
    """Publishes with the transaction of the session."""
    body = message.model_dump(mode="json", exclude_none=True)
    await outbox.publish(body, queue=topic, session=session)


async def execute(session: AsyncSession, statement: str, **values: Any) -> Mapping[str, Any] | None:
    """Runs a statement; returns its row, if it has one."""
    done = await session.execute(text(statement), values)
    return done.mappings().one_or_none() if done.returns_rows else None


async def _create_outbox() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(text(outbox_autovacuum_ddl(TABLE)))


app = FastStream(kafka, outbox, on_startup=[_create_outbox], logger=None)
