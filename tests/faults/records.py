"""Kafka records as bytes: read from a topic's end, altered, and produced again."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import ValidationError

from contracts import registry as _registry  # noqa: F401  # makes every message class known
from contracts import topics
from contracts.message import REGISTRY, Envelope, InvalidEnvelopeError, new_message_id
from tests.faults.nemesis import Beaten

Headers = tuple[tuple[str, bytes | None], ...]

READERS = {
    topics.ORDER_COMMANDS.name: "order",
    topics.INVENTORY_EVENTS.name: "order",
    topics.PAYMENT_EVENTS.name: "order",
    topics.INVENTORY_COMMANDS.name: "inventory",
    topics.PAYMENT_COMMANDS.name: "payment",
    topics.STRIPE_WEBHOOKS.name: "payment",
    topics.ORDER_EVENTS.name: "gateway",
    topics.INVENTORY_CATALOG.name: "gateway",
    topics.INVENTORY_REPLIES.name: "gateway",
}
"""Which service consumes a topic."""


class Raw(NamedTuple):
    """A record without its place."""

    topic: str
    key: bytes | None
    headers: Headers
    value: bytes | None

    @property
    def id(self) -> UUID:
        return Envelope.parse(self.headers).id

    @property
    def type(self) -> str:
        return Envelope.parse(self.headers).type

    def with_header(self, name: str, value: bytes | None) -> Self:
        headers = tuple((n, value if n == name else v) for n, v in self.headers)
        return self._replace(headers=headers)

    def decided_anew(self) -> Self:
        """The same message, as if its sender had decided once more to send it."""
        return self.with_header("ce_id", str(new_message_id()).encode())

    def is_message(self) -> bool:
        """Whether it is one of ours; topics also hold what other faults put there."""
        try:
            message_class = REGISTRY[self.type]
            message_class.model_validate_json(self.value or b"")
        except (InvalidEnvelopeError, KeyError, ValidationError):
            return False
        return self.key is not None


async def last_messages(beaten: Beaten, topic: str, count: int) -> list[Raw]:
    """About so many of the last messages of a topic, from all of its partitions."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=beaten.stack.kafka, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places: set[TopicPartition] = consumer.assignment()
        ends = await consumer.end_offsets(places)
        for place, end in ends.items():
            consumer.seek(place, max(0, end - count // len(places) - 1))
        found: list[Raw] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [Raw(r.topic, r.key, tuple(r.headers), r.value) for r in records]
    finally:
        await consumer.stop()
    return [raw for raw in found if raw.is_message()]


async def produce(beaten: Beaten, records: Iterable[Raw]) -> list[Any]:
    """Produce records in this order; returns where each of them is."""
    producer = AIOKafkaProducer(bootstrap_servers=beaten.stack.kafka, acks="all")
    await producer.start()
    try:
        return [
            await producer.send_and_wait(
                raw.topic, value=raw.value, key=raw.key, headers=list(raw.headers)
            )
            for raw in records
        ]
    finally:
        await producer.stop()


async def unknown_to(beaten: Beaten, service: str, ids: Sequence[UUID]) -> int:
    """How many of these ids a service's inbox does not hold yet."""
    found = await beaten.rows(
        service, "SELECT message_id FROM inbox WHERE message_id = ANY($1)", ids
    )
    return len(ids) - len(found)
