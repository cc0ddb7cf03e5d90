"""The messages of orders, in the order of their time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.kit.db import Connection, Pool


async def insert_messages(db: Connection, notes: Sequence[tuple[Any, ...]]) -> None:
    """Rows of `observing.Note`; one that is there already stays."""
    await db.execute(
        """
        INSERT INTO messages (topic, partition, "offset", message_id, causation_id, correlation_id,
                              key, type, source, sent_at, summary)
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::uuid[], $5::uuid[],
                             $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[],
                             $11::text[])
        ON CONFLICT DO NOTHING
        """,
        *map(list, zip(*notes, strict=True)),
    )


async def find_messages(pool: Pool, subjects: Sequence[str], limit: int) -> list[asyncpg.Record]:
    """The messages about these orders or intents, the oldest first."""
    return await pool.fetch(
        """
        SELECT topic, partition, "offset", message_id, causation_id, key, type, source, sent_at,
               summary
          FROM messages
         WHERE correlation_id = ANY($1)
         ORDER BY sent_at, message_id
         LIMIT $2
        """,
        subjects,
        limit,
    )


async def forget_messages(db: Connection, before: datetime, limit: int) -> int:
    """Delete some of those sent before then; says how many."""
    status = await db.execute(
        """
        DELETE FROM messages
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM messages WHERE sent_at < $1 LIMIT $2))
        """,
        before,
        limit,
    )
    return int(status.rpartition(" ")[2])


async def count_news(pool: Pool, order_id: UUID, subjects: Sequence[str]) -> int:
    """Grows with everything that an order's page shows: messages, the audit's and parked ones'
    among them, what people asked for, and notes."""
    found: int = await pool.fetchval(
        """
        SELECT (SELECT count(*) FROM messages WHERE correlation_id = ANY($1))
             + (SELECT count(*) FROM operations WHERE correlation_id = ANY($1))
             + (SELECT count(*) FROM order_notes WHERE order_id = $2)
        """,
        subjects,
        order_id,
    )
    return found
