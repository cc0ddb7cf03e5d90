"""A record from Kafka as a message, and a message as a record for Kafka.

Decoding never raises: one record that is not a message of ours must not lose its batch.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

import orjson
import uuid_utils
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from contracts.message import (
    Envelope,
    InvalidEnvelopeError,
    Message,
    envelope_headers,
)
from services.kit.errors import Park, Undecodable

M = TypeVar("M", bound=Message)


def storable(text: str) -> str:
    """Text that PostgreSQL can keep: it has no place for a NUL, and a record that can be neither
    handled nor parked would stop its partition for everybody."""
    return text.replace("\x00", "\ufffd")


MOST_OF_A_REASON: Final = 2_000
"""Characters. What a service says of a record must not grow with the record."""
MOST_OF_A_KEY: Final = 500
"""Bytes."""
_PROBLEMS: Final = 10


def reason_of(text: str) -> str:
    """Why a message was set aside, as it is stored and announced: 2,000 characters at most."""
    # Without lone surrogates: neither PostgreSQL nor Kafka could take them.
    text = storable(text[: MOST_OF_A_REASON + 1].encode("utf-8", "replace").decode())
    return text if len(text) <= MOST_OF_A_REASON else text[: MOST_OF_A_REASON - 2] + " \u2026"


def shortened(key: str) -> str:
    """A key to be shown and to sort by: of one that is longer than 500 bytes the beginning and a
    digest, so that the same key always gives the same text."""
    encoded = key.encode()
    if len(encoded) <= MOST_OF_A_KEY:
        return key
    begin = encoded[: MOST_OF_A_KEY - 20].decode("utf-8", "ignore")
    return f"{begin}\u2026{blake2b(encoded, digest_size=8).hexdigest()}"


class Record(NamedTuple):
    """A record as it came: enough to park it and to read it again."""

    topic: str
    partition: int
    offset: int
    key: str | None
    headers: tuple[tuple[str, bytes | None], ...]
    value: bytes | None

    @classmethod
    def of(cls, record: "ConsumerRecord[bytes, bytes]") -> "Record":
        key = record.key
        return cls(
            record.topic,
            record.partition,
            record.offset,
            None if key is None else storable(key.decode("utf-8", "replace")),
            tuple(record.headers),
            record.value,
        )


def headers_to_json(headers: Sequence[tuple[str, bytes | None]]) -> str:
    """Headers as PostgreSQL keeps them: name -> base64 of the value, or null."""
    return orjson.dumps(
        {
            storable(name): None if value is None else base64.b64encode(value).decode()
            for name, value in headers
        }
    ).decode()


def headers_from_json(text: str) -> tuple[tuple[str, bytes | None], ...]:
    """What `headers_to_json` wrote."""
    stored: dict[str, str | None] = orjson.loads(text)
    return tuple((k, None if v is None else base64.b64decode(v)) for k, v in stored.items())


@dataclass(slots=True)
class Incoming(Generic[M]):
    """A message that was read, and where it came from."""

    message: M
    envelope: Envelope
    record: Record
    attempts: int = 0


@dataclass(slots=True)
class Unreadable:
    """A record that is no message of ours, and why."""

    record: Record
    error: Park
    envelope: Envelope | None = None
    attempts: int = 1


def decode(record: Record, accepted: Mapping[str, type[Message]]) -> Incoming[Any] | Unreadable:
    """Read one record as one of the `accepted` types, by wire name."""
    envelope = None
    try:
        envelope = Envelope.parse(record.headers)
        message_class = accepted.get(envelope.type)
        if message_class is None:
            raise Undecodable(f"this service does not accept {envelope.type} on {record.topic}")
        if record.value is None:
            raise Undecodable("the record has no value")
        if record.key is None:
            raise Undecodable("the record has no key")
        return Incoming(message_class.model_validate_json(record.value), envelope, record)
    except InvalidEnvelopeError as error:
        return Unreadable(record, Undecodable(str(error)))
    except ValidationError as error:
        return Unreadable(record, Undecodable(_in_one_line(error)), envelope)
    except Undecodable as error:
        return Unreadable(record, error, envelope)


def _in_one_line(error: ValidationError) -> str:
    # Never the input: it may hold what logs must not.
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [
        f"{'.'.join(map(str, problem['loc'])) or 'value'}: {problem['msg']}"
        for problem in problems[:_PROBLEMS]
    ]
    if len(problems) > _PROBLEMS:
        shown.append(f"{len(problems) - _PROBLEMS} more problems")
    return reason_of("; ".join(shown))


class Outgoing(NamedTuple):
    """A message on its way to Kafka: part of an outbox row, and a record. All of it is text."""

    message_id: str
    topic: str
    key: str
    type: str
    source: str
    time: str
    correlation_id: str
    causation_id: str | None
    traceparent: str | None
    payload: str

    @classmethod
    def of(
        cls,
        message: Message,
        *,
        source: str,
        time: str,
        message_id: UUID | None = None,
        correlation_id: str | None = None,
        cause: Envelope | None = None,
        traceparent: str | None = None,
    ) -> "Outgoing":
        """A message that is sent now, at ISO `time`: correlation and trace come from its cause."""
        key = message.key
        return cls(
            # As text from the start: an object of class UUID, written out, costs six times as much.
            str(message_id or uuid_utils.uuid7()),
            message.destination.name,
            key,
            message.wire_type,
            source,
            time,
            correlation_id or (cause.correlation_id if cause else key),
            str(cause.id) if cause else None,
            traceparent or (cause.traceparent if cause else None),
            message.model_dump_json(),
        )

    def kafka_headers(self) -> list[tuple[str, bytes]]:
        return envelope_headers(
            message_id=self.message_id,
            type=self.type,
            source=self.source,
            time=self.time,
            subject=self.key,
            correlation_id=self.correlation_id,
            causation_id=self.causation_id,
            traceparent=self.traceparent,
        )
