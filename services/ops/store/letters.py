"""Parked messages of all services, as they were announced."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from contracts.dead_letters import MessageParked, ParkedMessageChanged
from services.kit.db import Connection, Pool
from services.kit.messages import Incoming
from services.ops.rules import cause_of, mask

Letter = tuple[str, int]
"""The service, and the number that it gave the message."""


async def save_parked(db: Connection, heard: Sequence[Incoming[MessageParked]]) -> None:
    """What never changes of a parked message, and its first state unless a later one is known."""
    once = {(m.message.service, m.message.parked_id): m for m in heard}
    found = [once[letter] for letter in sorted(once)]
    messages = [m.message for m in found]
    await db.execute(
        """
        INSERT INTO letters (service, parked_id, version, state, reason, cause, attempts,
                             message_id, message_type, correlation_id, source_topic,
                             source_partition, source_offset, source_key, parked_at)
        SELECT service, parked_id, 1, state, reason, cause, attempts, message_id, message_type,
               correlation_id, source_topic, source_partition, source_offset, source_key, parked_at
          FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[],
                      $7::uuid[], $8::text[], $9::text[], $10::text[], $11::int[], $12::bigint[],
                      $13::text[], $14::timestamptz[])
               AS heard (service, parked_id, state, reason, cause, attempts, message_id,
                         message_type, correlation_id, source_topic, source_partition,
                         source_offset, source_key, parked_at)
        ON CONFLICT (service, parked_id) DO UPDATE
           SET message_id = excluded.message_id, message_type = excluded.message_type,
               source_offset = excluded.source_offset, parked_at = excluded.parked_at
        """,
        [m.service for m in messages],
        [m.parked_id for m in messages],
        [m.state for m in messages],
        [mask(m.reason) for m in messages],
        [cause_of(m.reason) for m in messages],
        [m.attempts for m in messages],
        [m.message_id for m in messages],
        [m.message_type for m in messages],
        [m.envelope.correlation_id for m in found],
        [m.source_topic for m in messages],
        [m.source_partition for m in messages],
        [m.source_offset for m in messages],
        [m.source_key for m in messages],
        [m.parked_at for m in messages],
    )


async def save_newer_changes(
    db: Connection, heard: Sequence[Incoming[ParkedMessageChanged]]
) -> None:
    """How parked messages are now; a change may be heard before the parking."""
    newest = {
        (m.message.service, m.message.parked_id): m
        for m in sorted(heard, key=lambda m: m.message.version)
    }
    found = [newest[letter] for letter in sorted(newest)]
    messages = [m.message for m in found]
    await db.execute(
        """
        INSERT INTO letters (service, parked_id, version, state, reason, cause, attempts,
                             correlation_id, source_topic, source_partition, source_key, changed_by,
                             change_reason, changed_at)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::int[], $4::text[], $5::text[],
                             $6::text[], $7::int[], $8::text[], $9::text[], $10::int[], $11::text[],
                             $12::text[], $13::text[], $14::timestamptz[])
        ON CONFLICT (service, parked_id) DO UPDATE
           SET version = excluded.version, state = excluded.state, reason = excluded.reason,
               cause = excluded.cause, attempts = excluded.attempts,
               changed_by = excluded.changed_by, change_reason = excluded.change_reason,
               changed_at = excluded.changed_at
         WHERE letters.version < excluded.version
        """,
        [m.service for m in messages],
        [m.parked_id for m in messages],
        [m.version for m in messages],
        [m.state for m in messages],
        [mask(m.reason) for m in messages],
        [cause_of(m.reason) for m in messages],
        [m.attempts for m in messages],
        [m.envelope.correlation_id for m in found],
        [m.source_topic for m in messages],
        [m.source_partition for m in messages],
        [m.source_key for m in messages],
        [m.changed_by for m in messages],
        [m.change_reason for m in messages],
        [m.at for m in messages],
    )


async def list_causes(pool: Pool) -> list[asyncpg.Record]:
    """Open parked messages by what they have in common, the oldest first."""
    return await pool.fetch(
        """
        SELECT parked.service, message_type, cause, count(*) AS messages,
               (SELECT count(*) FROM letters AS behind
                 WHERE behind.state = 'waiting' AND behind.service = parked.service
                   AND behind.source_key = ANY(array_agg(parked.source_key))) AS waiting,
               min(parked_at) AS since, max(attempts) AS attempts
          FROM letters AS parked
         WHERE state IN ('parked', 'replay')
         GROUP BY parked.service, message_type, cause
         ORDER BY since, parked.service, cause
        """
    )


async def count_open(db: Connection) -> dict[str, int]:
    """How many messages are parked or wait behind one, of the services that have any."""
    rows = await db.fetch(
        """
        SELECT service, count(*) AS messages
          FROM letters
         WHERE state IN ('parked', 'waiting', 'replay')
         GROUP BY service
        """
    )
    return {row["service"]: row["messages"] for row in rows}


async def list_letters(
    pool: Pool, service: str | None, everything: bool, after: Letter, limit: int
) -> list[asyncpg.Record]:
    """Parked messages behind one, those that are open or all."""
    return await pool.fetch(
        """
        SELECT * FROM letters
         WHERE ($1::text IS NULL OR service = $1)
           AND ($2 OR state IN ('parked', 'waiting', 'replay'))
           AND (service, parked_id) > ($3, $4)
         ORDER BY service, parked_id
         LIMIT $5
        """,
        service,
        everything,
        *after,
        limit,
    )


async def list_of_cause(
    pool: Pool, service: str, message_type: str | None, cause: str, after: int, limit: int
) -> list[asyncpg.Record]:
    """A service's parked messages of one cause behind a number."""
    return await pool.fetch(
        """
        SELECT * FROM letters
         WHERE service = $1 AND message_type IS NOT DISTINCT FROM $2 AND cause = $3
           AND state IN ('parked', 'replay') AND parked_id > $4
         ORDER BY parked_id
         LIMIT $5
        """,
        service,
        message_type,
        cause,
        after,
        limit,
    )


async def find_letters(db: Connection, wanted: Sequence[Letter]) -> list[asyncpg.Record]:
    return await db.fetch(
        """
        SELECT letters.*
          FROM letters
          JOIN unnest($1::text[], $2::bigint[]) AS wanted (service, parked_id)
               USING (service, parked_id)
        """,
        [service for service, _ in wanted],
        [parked_id for _, parked_id in wanted],
    )


async def find_waiting(pool: Pool, letter: Any, limit: int) -> list[asyncpg.Record]:
    """What waits behind a parked message."""
    return await pool.fetch(
        """
        SELECT * FROM letters
         WHERE service = $1 AND source_key = $2 AND parked_id > $3 AND state = 'waiting'
         ORDER BY parked_id
         LIMIT $4
        """,
        letter["service"],
        letter["source_key"],
        letter["parked_id"],
        limit,
    )


async def find_of_order(pool: Pool, subject: str, limit: int) -> list[asyncpg.Record]:
    """Parked messages about an order, closed ones too."""
    return await pool.fetch(
        """
        SELECT * FROM letters
         WHERE correlation_id = $1 ORDER BY parked_at, service, parked_id LIMIT $2
        """,
        subject,
        limit,
    )
