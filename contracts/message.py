"""What every message has: a wire name, a topic, a key, and an envelope in Kafka headers.

The envelope is CloudEvents 1.0 in the Kafka binary binding: attributes are headers (`ce_id`,
`ce_type`, ...), the value is the JSON of the model. `ce_correlationid` is the order (or product)
that the message is about, `ce_causationid` the message that made somebody send it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
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


@dataclass(frozen=True, slots=True)
class Envelope:
    """The CloudEvents attributes of one message.

    `id` is a UUIDv7 made once by whoever decides to send; a message sent twice carries it twice.
    """

    id: UUID
    type: str
    source: str
    time: datetime
    subject: str
    correlation_id: str
    causation_id: UUID | None = None
    traceparent: str | None = None

    def headers(self) -> dict[str, str]:
        """The Kafka headers, as text."""
        return envelope_headers(
            message_id=self.id,
            type=self.type,
            source=self.source,
            time=self.time.isoformat(),
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
        try:
            message_id = UUID(_text(found, "ce_id"))
            if message_id.version != 7:
                raise InvalidEnvelopeError(f"ce_id {message_id} is not a UUIDv7")
            causation = found.get("ce_causationid")
            traceparent = found.get("traceparent")
            return cls(
                id=message_id,
                type=_text(found, "ce_type"),
                source=_text(found, "ce_source"),
                time=datetime.fromisoformat(_text(found, "ce_time")),
                subject=_text(found, "ce_subject"),
                correlation_id=_text(found, "ce_correlationid"),
                causation_id=UUID(causation.decode()) if causation else None,
                traceparent=traceparent.decode() if traceparent else None,
            )
        except UnicodeDecodeError as error:
            raise InvalidEnvelopeError("a header is not UTF-8") from error
        except InvalidEnvelopeError:
            raise
        except ValueError as error:
            raise InvalidEnvelopeError(str(error)) from error


def envelope_headers(
    *,
    message_id: UUID,
    type: str,  # noqa: A002
    source: str,
    time: str,
    subject: str,
    correlation_id: str,
    causation_id: UUID | None,
    traceparent: str | None,
) -> dict[str, str]:
    """The attributes of a CloudEvent as Kafka headers; `time` is ISO 8601."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(message_id),
        "ce_type": type,
        "ce_source": source,
        "ce_time": time,
        "ce_subject": subject,
        "ce_correlationid": correlation_id,
        "content-type": "application/json",
    }
    if causation_id is not None:
        headers["ce_causationid"] = str(causation_id)
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return headers


def _text(headers: dict[str, bytes | None], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise InvalidEnvelopeError(f"header {name} is missing")
    if b"\x00" in value:
        raise InvalidEnvelopeError(f"header {name} holds a NUL")
    return value.decode()


def new_message_id() -> UUID:
    """A fresh UUIDv7: its first 48 bits are the time in milliseconds."""
    return uuid_utils.compat.uuid7()


def sent_at_ms(message_id: UUID) -> int:
    """The time inside a UUIDv7, in milliseconds since 1970."""
    return message_id.int >> 80
