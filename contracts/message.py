"""What every message has: a wire name, a topic, a key, and an envelope in Kafka headers.

The envelope is CloudEvents 1.0 in the Kafka binary binding: attributes are headers (`ce_id`,
`ce_type`, ...), the value is the JSON of the model. `ce_correlationid` is the order (or product)
that the message is about, `ce_causationid` the message that made somebody send it.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

import uuid_utils.compat
from pydantic import BaseModel, ConfigDict

from contracts.topics import Topic

REGISTRY: dict[str, type["Message"]] = {}
"""Every message class by its wire name."""


class Value(BaseModel):
    """A part of a message. Immutable; fields that a newer sender added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Value):
    """A command or an event.

    Subclasses name themselves literally, so that a search for the wire name finds them:

        class ReserveStock(Message, type="inventory.reserve-stock.v1", topic=INVENTORY_COMMANDS)

    A new optional field keeps the version; anything else is a new class `.v2` beside this one.
    """

    wire_type: ClassVar[str]
    topic: ClassVar[Topic]

    def __init_subclass__(cls, *, type: str, topic: Topic, **kwargs: Any) -> None:  # noqa: A002
        super().__init_subclass__(**kwargs)
        if type in REGISTRY:
            raise TypeError(f"two message classes are called {type}")
        cls.wire_type = type
        cls.topic = topic
        REGISTRY[type] = cls

    @classmethod
    def topics(cls) -> tuple[Topic, ...]:
        """Where this message may travel: one topic, but for dead letters."""
        return (cls.topic,)

    @property
    def destination(self) -> Topic:
        return self.topic

    @property
    def key(self) -> str:
        """The record key; also the correlation id of whatever starts with this message."""
        return str(getattr(self, "order_id"))  # noqa: B009  # declared by almost every subclass


class InvalidEnvelopeError(ValueError):
    """The record's headers are not a CloudEvent that this system can read."""


class Envelope(NamedTuple):
    """The CloudEvents attributes of one message.

    `id` is a UUIDv7 made once by whoever decides to send; a message sent twice carries it twice.
    `time` (ISO 8601) and `causation_id` are passed on as they came: nobody decides by them, and
    reading them would be half of the cost of reading an envelope.
    """

    id: UUID
    type: str
    source: str
    time: str
    subject: str
    correlation_id: str
    causation_id: str | None = None
    traceparent: str | None = None

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers."""
        return envelope_headers(
            message_id=str(self.id),
            type=self.type,
            source=self.source,
            time=self.time,
            subject=self.subject,
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            traceparent=self.traceparent,
        )

    @classmethod
    def parse(cls, headers: Iterable[tuple[str, bytes | None]]) -> "Envelope":
        """Read Kafka headers.

        Raises:
            InvalidEnvelopeError: a header is missing, empty, not UTF-8, or not of its type.
        """
        found = dict(headers)
        values = [found.get(name) or b"" for name in _REQUIRED]
        if not all(values):
            raise InvalidEnvelopeError(f"header {_REQUIRED[values.index(b'')]} is missing")
        causation, traceparent = found.get("ce_causationid"), found.get("traceparent")
        try:
            message_id, kind, source, time, subject, correlation_id = [v.decode() for v in values]
            envelope = cls(
                UUID(message_id),
                kind,
                source,
                time,
                subject,
                correlation_id,
                causation.decode() if causation else None,
                traceparent.decode() if traceparent else None,
            )
        except UnicodeDecodeError as error:
            raise InvalidEnvelopeError("a header is not UTF-8") from error
        except ValueError as error:
            raise InvalidEnvelopeError(f"ce_id: {error}") from error
        if not is_uuid7(envelope.id):
            raise InvalidEnvelopeError(f"ce_id {message_id} is not a UUIDv7")
        given = (*values, causation or b"", traceparent or b"")
        if b"\x00" in b"".join(given):
            raise InvalidEnvelopeError("a header holds a NUL")
        if max(map(len, given)) > _LONGEST:
            raise InvalidEnvelopeError(f"a header has more than {_LONGEST} bytes")
        return envelope


_LONGEST: Final = 1_000
"""Bytes of a header. Ours have a hundred; they are indexed, and passed on with every answer."""
_REQUIRED = ("ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "ce_correlationid")


def envelope_headers(
    *,
    message_id: str,
    type: str,  # noqa: A002
    source: str,
    time: str,
    subject: str,
    correlation_id: str,
    causation_id: str | None,
    traceparent: str | None,
) -> list[tuple[str, bytes]]:
    """The attributes of a CloudEvent as Kafka headers; `time` is ISO 8601."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", message_id.encode()),
        ("ce_type", type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.encode()),
        ("ce_subject", subject.encode()),
        ("ce_correlationid", correlation_id.encode()),
        ("content-type", b"application/json"),
    ]
    if causation_id is not None:
        headers.append(("ce_causationid", causation_id.encode()))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return headers


def new_message_id() -> UUID:
    """A fresh UUIDv7: its first 48 bits are the time in milliseconds."""
    return uuid_utils.compat.uuid7()


def is_uuid7(value: UUID) -> bool:
    """Whether an id has a time inside; by the version's bits alone, as these ids are made."""
    return (value.int >> 76) & 0xF == 7


def sent_at_ms(message_id: UUID) -> int:
    """The time inside a UUIDv7, in milliseconds since 1970."""
    return message_id.int >> 80
