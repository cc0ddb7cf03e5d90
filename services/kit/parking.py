"""Parked messages: what could not be handled, and what waits behind it under the same key.

A parked message is `parked` until a person asks for a `replay` or discards it. Replaying is done by
the running service, key by key in sequence: when the first message of a key succeeds, the ones
waiting behind it follow by themselves. The outcome is what really happened: `replayed` is written
in the transaction of the effect, and a message that fails again is `parked` again, with one attempt
more and the new reason.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from contracts.dead_letters import MessageParked
from contracts.message import Message
from services.kit.db import Connection
from services.kit.errors import is_infrastructure
from services.kit.messages import (
    Incoming,
    Record,
    Unreadable,
    decode,
    headers_from_json,
    headers_to_json,
    reason_of,
    shortened,
)
from services.kit.operations import announce_changes
from services.kit.telemetry import PARKED, PARKED_NOW, UNPUBLISHABLE_NOW, log
from services.kit.unpublishable import NOWHERE, again
from services.kit.work import Handler, ToPark, UnitOfWork, Work

_LOOK_AT = 100


async def park(work: Work, service: str) -> None:
    """Store what this transaction parks, and announce it on the service's dead-letter topic."""
    rows = await _save(work.db, work.to_park)
    parked = {
        (row["source_topic"], row["source_partition"], row["source_offset"]): row for row in rows
    }
    for entry in work.to_park:
        record, envelope = entry.item.record, entry.item.envelope
        row = parked.get((record.topic, record.partition, record.offset))
        if row is None:  # a redelivery of what is parked already
            continue
        PARKED.labels(_kind(entry)).inc()
        work.send(
            MessageParked(
                service=service,
                parked_id=row["id"],
                state=row["state"],
                message_id=envelope.id if envelope else None,
                message_type=envelope.type if envelope else None,
                source_topic=record.topic,
                source_partition=record.partition,
                source_offset=record.offset,
                source_key=None if record.key is None else shortened(record.key),
                reason=reason_of(entry.reason),
                attempts=row["attempts"],
                parked_at=work.now,
            ),
            entry.item if isinstance(entry.item, Incoming) else None,
            correlation_id=envelope.correlation_id if envelope else None,
        )
    log.warning(
        "messages parked",
        parked=[
            {"key": shortened(entry.item.record.key or ""), "reason": reason_of(entry.reason)}
            for entry in work.to_park[:5]
            if not entry.waiting
        ],
        count=len(work.to_park),
    )


async def forget_payloads(db: Connection, topic: str, before: datetime) -> None:
    """Discard older parked messages of a topic with personal data, and delete what they hold."""
    await db.execute(
        """
        UPDATE parked_messages
           SET payload = NULL,
               state = CASE WHEN closed_at IS NULL THEN 'discarded' ELSE state END,
               closed_at = coalesce(closed_at, now()), closed_by = coalesce(closed_by, 'retention'),
               close_reason = coalesce(close_reason, 'personal data, kept for long enough')
         WHERE source_topic = $1 AND parked_at < $2 AND payload IS NOT NULL
        """,
        topic,
        before,
    )


def _kind(entry: ToPark) -> str:
    if entry.waiting:
        return "waiting"
    return "unreadable" if isinstance(entry.item, Unreadable) else "refused"


async def _save(db: Connection, entries: Sequence[ToPark]) -> list[asyncpg.Record]:
    items = [entry.item for entry in entries]
    return await db.fetch(
        """
        INSERT INTO parked_messages (state, message_id, message_type, source_topic,
                                     source_partition, source_offset, key, headers, payload,
                                     reason, attempts)
        SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::int[],
                             $6::bigint[], $7::text[], $8::jsonb[], $9::bytea[], $10::text[],
                             $11::int[])
        ON CONFLICT ON CONSTRAINT one_row_per_record DO NOTHING
        RETURNING id, state, attempts, source_topic, source_partition, source_offset
        """,
        ["waiting" if entry.waiting else "parked" for entry in entries],
        [item.envelope.id if item.envelope else None for item in items],
        [item.envelope.type if item.envelope else None for item in items],
        [item.record.topic for item in items],
        [item.record.partition for item in items],
        [item.record.offset for item in items],
        [item.record.key for item in items],
        [headers_to_json(item.record.headers) for item in items],
        [item.record.value for item in items],
        [reason_of(entry.reason) for entry in entries],
        [0 if entry.waiting else max(1, entry.item.attempts) for entry in entries],
    )


class Replayer:
    """Handles parked messages again, when a person asked or their predecessor is out of the way."""

    def __init__(
        self,
        service: str,
        unit_of_work: UnitOfWork,
        accepted: Mapping[str, type[Message]],
        handler_of: Callable[[Incoming[Any]], Handler],
    ) -> None:
        self._service = service
        self._unit_of_work = unit_of_work
        self._accepted = accepted
        self._handler_of = handler_of

    async def run_due(self) -> None:
        """Go on until no key's first message is to be replayed; announce what has changed.

        Raises:
            Exception: what kept a message from being tried, after all others were.
        """
        while True:
            async with self._unit_of_work.begin() as work:
                await announce_changes(work, self._service)
            async with self._unit_of_work.begin() as work:
                await _measure(work.db)
                due = await _find_due(work.db)
            tried, errors = 0, []
            for parked_id in due:
                try:
                    tried += await self._replay(parked_id)
                except Exception as error:
                    # One that cannot even be parked again must not keep the others waiting.
                    log.warning("not replayed", parked_id=parked_id, error=repr(error))
                    errors.append(error)
            if errors:
                raise errors[0]
            if not tried:
                return

    async def _replay(self, parked_id: int) -> bool:
        """Try one message; False when another replica was faster."""
        try:
            async with self._unit_of_work.begin() as work:
                row = await _lock(work.db, parked_id)
                if row is None:
                    return False
                failure = await self._handle(work, row)
                if failure is None:
                    await _close_replayed(work.db, parked_id)
                else:
                    await _park_again(work.db, parked_id, reason_of(failure))
        except Exception as error:
            if is_infrastructure(error):
                raise
            async with self._unit_of_work.begin() as work:
                reason = reason_of(f"{type(error).__name__}: {error}")
                await _park_again(work.db, parked_id, reason)
        else:
            log.info("parked message handled again", parked_id=parked_id, failure=failure)
        return True

    async def _handle(self, work: Work, row: asyncpg.Record) -> str | None:
        """Run the handler; returns why it could not, or None."""
        record = Record(
            row["source_topic"],
            row["source_partition"],
            row["source_offset"],
            row["key"],
            headers_from_json(row["headers"]),
            row["payload"],
        )
        if record.partition == NOWHERE:
            work.outgoing.append(again(record))
            return None
        item = decode(record, self._accepted)
        if isinstance(item, Unreadable):
            return str(item.error)
        await self._handler_of(item)(work, [item])
        if work.to_park:
            return work.to_park[0].reason
        return None


async def _measure(db: Connection) -> None:
    row = await db.fetchrow(
        """
        SELECT count(*) AS open, count(*) FILTER (WHERE source_partition = $1) AS unpublishable
          FROM parked_messages
         WHERE state IN ('parked', 'waiting', 'replay')
        """,
        NOWHERE,
    )
    assert row is not None  # noqa: S101  # for the type checker: a count is one row
    PARKED_NOW.set(row["open"])
    UNPUBLISHABLE_NOW.set(row["unpublishable"])


async def _find_due(db: Connection) -> list[int]:
    """The first open message of each key, where a replay was asked for or nothing is before it.

    A `waiting` message at the head of its key has lost its predecessor: it is due by itself.
    Records without a key wait for nobody.
    """
    rows = await db.fetch(
        """
        SELECT id
          FROM (SELECT DISTINCT ON (coalesce(key, id::text)) id, state
                  FROM parked_messages
                 WHERE state IN ('parked', 'waiting', 'replay')
                 ORDER BY coalesce(key, id::text), id) AS first
         WHERE state IN ('waiting', 'replay')
         ORDER BY id
         LIMIT $1
        """,
        _LOOK_AT,
    )
    return [row["id"] for row in rows]


async def _lock(db: Connection, parked_id: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        """
        SELECT source_topic, source_partition, source_offset, key, headers, payload
          FROM parked_messages
         WHERE id = $1 AND state IN ('waiting', 'replay')
           FOR UPDATE SKIP LOCKED
        """,
        parked_id,
    )


async def _close_replayed(db: Connection, parked_id: int) -> None:
    await db.execute(
        "UPDATE parked_messages SET state = 'replayed', closed_at = now() WHERE id = $1", parked_id
    )


async def _park_again(db: Connection, parked_id: int, reason: str) -> None:
    await db.execute(
        """
        UPDATE parked_messages
           SET state = 'parked', attempts = attempts + 1, reason = $2
         WHERE id = $1 AND state IN ('waiting', 'replay')
        """,
        parked_id,
        reason,
    )
