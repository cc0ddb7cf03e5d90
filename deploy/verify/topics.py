"""Evidence from Kafka: the three audit trails, the webhooks, and how far behind each group is."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer

from contracts.audit import InventoryAudited, OrderAudited, PaymentAudited
from contracts.message import Envelope, Message
from contracts.order import CommandRefused
from contracts.stripe import StripeEventReceived
from contracts.topics import DEAD_LETTERS
from deploy.verify.evidence import Evidence, Waiting
from services.kit.lag import group_lags
from services.kit.undone import Undone, undone_time

M = TypeVar("M", bound=Message)


async def read_topics(kafka: str, dsn: str, evidence: Evidence) -> None:
    """Fill in the audit trails by order, and the webhooks; `dsn` is of a database that knows which
    time a restore undid."""
    db = await asyncpg.connect(dsn, timeout=10)
    try:
        undone = await undone_time(db)
    finally:
        await db.close(timeout=5)
    evidence.order_audit = await _trail(kafka, OrderAudited, undone)
    evidence.payment_audit = await _trail(kafka, PaymentAudited, undone)
    evidence.stock_audit = await _trail(kafka, InventoryAudited, undone)
    async with aclosing(_records(kafka, StripeEventReceived, undone)) as records:
        evidence.kept_webhooks = {
            record.message.event_id
            async for record in records
            if record.envelope.source == "gateway"  # others were found in Stripe's list
        }


async def refused_commands(kafka: str, dsn: str) -> list[CommandRefused]:
    """Commands that an order's state forbade; `dsn` as for `read_topics`."""
    db = await asyncpg.connect(dsn, timeout=10)
    try:
        undone = await undone_time(db)
    finally:
        await db.close(timeout=5)
    async with aclosing(_records(kafka, CommandRefused, undone)) as records:
        return [record.message async for record in records]


async def lag(kafka: str) -> list[Waiting]:
    """Records that a group has not acknowledged yet, by group and topic."""
    return [
        Waiting(f"{group} behind {topic}", records)
        for group, topic, records, _ in await group_lags(kafka, DEAD_LETTERS, with_age=False)
        if records
    ]


class _Record(NamedTuple, Generic[M]):
    key: str
    envelope: Envelope
    message: M


async def _trail(kafka: str, kind: type[M], undone: Undone) -> dict[str, list[M]]:
    """All records of an audit topic by key, each message once: it may be published twice."""
    found: dict[str, list[M]] = defaultdict(list)
    seen: set[UUID] = set()
    async with aclosing(_records(kafka, kind, undone)) as records:
        async for record in records:
            if record.envelope.id not in seen:
                seen.add(record.envelope.id)
                found[record.key].append(record.message)
    return dict(found)


async def _records(kafka: str, kind: type[M], undone: Undone) -> AsyncGenerator[_Record[M], None]:
    """All messages of this kind that are on its topic, and count."""
    consumer = AIOKafkaConsumer(
        kind.topic.name, bootstrap_servers=kafka, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    envelope = Envelope.parse(record.headers)
                    if envelope.type == kind.wire_type and not undone.covers(record):
                        message = kind.model_validate_json(record.value or b"")
                        yield _Record((record.key or b"").decode(), envelope, message)
    finally:
        await consumer.stop()
