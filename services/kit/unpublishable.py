"""Messages of ours that Kafka will never take as they are, e.g. as they are too large.

They become dead letters of the service that wanted to send them, with the partition -1: visible in
ops, with the alert of every dead letter and one of their own. They have no key, so nothing waits
behind them. A replay publishes them again, e.g. after `MAX_MESSAGE_BYTES` was raised.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from contracts.dead_letters import DeadLetter, MessageParked
from contracts.message import Envelope
from contracts.registry import MESSAGES
from services.kit.db import Connection
from services.kit.messages import (
    Outgoing,
    Record,
    headers_to_json,
    reason_of,
    shortened,
)
from services.kit.telemetry import PARKED, log

NOWHERE: Final = -1
"""The partition of a dead letter that was never on its topic."""
_63_BITS: Final = 2**63 - 1


async def set_aside(
    db: Connection, service: str, refused: Sequence[tuple[Outgoing, str]]
) -> list[Outgoing]:
    """Park messages in the caller's transaction; returns what announces them.

    One that was set aside before, and refused again when it was replayed, is parked again.
    """
    rows = await _save(db, refused)
    now = datetime.now(UTC)
    letters = []
    for message, reason in refused:
        PARKED.labels("unpublishable").inc()
        log.error(
            "a message cannot be published; it is set aside",
            message_id=message.message_id,
            type=message.type,
            topic=message.topic,
            reason=reason,
        )
        row = rows[_number(message)]
        # Announcing an announcement that cannot be sent would go on for ever.
        if row["attempts"] > 1 or _is_dead_letter(message):
            continue
        letter = MessageParked(
            service=service,
            parked_id=row["id"],
            state="parked",
            message_id=UUID(message.message_id),
            message_type=message.type,
            source_topic=message.topic,
            source_partition=NOWHERE,
            source_offset=_number(message),
            source_key=shortened(message.key),
            reason=reason_of(reason),
            attempts=1,
            parked_at=now,
        )
        letters.append(
            Outgoing.of(
                letter,
                source=service,
                time=now.isoformat(),
                correlation_id=message.correlation_id,
                traceparent=message.traceparent,
            )
        )
    return letters


def again(record: Record) -> Outgoing:
    """The message that was set aside as this record.

    Raises:
        InvalidEnvelopeError: its headers were changed, and are no CloudEvent any more.
    """
    envelope = Envelope.parse(record.headers)
    return Outgoing(
        message_id=str(envelope.id),
        topic=record.topic,
        key=envelope.subject,
        type=envelope.type,
        source=envelope.source,
        time=envelope.time,
        correlation_id=envelope.correlation_id,
        causation_id=envelope.causation_id,
        traceparent=envelope.traceparent,
        payload=(record.value or b"").decode(),
    )


def _number(message: Outgoing) -> int:
    """In place of an offset: the random part of the message's id."""
    return UUID(message.message_id).int & _63_BITS


def _is_dead_letter(message: Outgoing) -> bool:
    kind = MESSAGES.get(message.type)
    return kind is not None and issubclass(kind, DeadLetter)


async def _save(
    db: Connection, refused: Sequence[tuple[Outgoing, str]]
) -> dict[int, asyncpg.Record]:
    messages = {_number(message): (message, reason) for message, reason in refused}
    rows = await db.fetch(
        """
        INSERT INTO parked_messages (state, message_id, message_type, source_topic,
                                     source_partition, source_offset, headers, payload, reason,
                                     attempts)
        SELECT 'parked', message_id, message_type, topic, $1, number, headers, payload, reason, 1
          FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::jsonb[], $7::bytea[],
                      $8::text[])
               AS refused (message_id, message_type, topic, number, headers, payload, reason)
        ON CONFLICT ON CONSTRAINT one_row_per_record DO UPDATE
           SET state = 'parked', reason = excluded.reason,
               attempts = parked_messages.attempts + 1, closed_at = NULL
        RETURNING id, attempts, source_offset
        """,
        NOWHERE,
        [UUID(message.message_id) for message, _ in messages.values()],
        [message.type for message, _ in messages.values()],
        [message.topic for message, _ in messages.values()],
        list(messages),
        [headers_to_json(message.kafka_headers()) for message, _ in messages.values()],
        [message.payload.encode("utf-8", "replace") for message, _ in messages.values()],
        [reason_of(reason) for _, reason in messages.values()],
    )
    return {row["source_offset"]: row for row in rows}
