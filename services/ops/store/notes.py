"""Notes of staff on orders."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.kit.db import Connection, Pool


class Note(NamedTuple):
    """What somebody wrote on an order."""

    id: UUID
    order_id: UUID
    text: str
    written_by: str


async def insert_note(db: Connection, note: Note, now: datetime) -> None:
    """One whose id is there already stays as it was."""
    await db.execute(
        """
        INSERT INTO order_notes (id, order_id, text, written_by, written_at)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO NOTHING
        """,
        *note,
        now,
    )


async def find_note(db: Connection, note_id: UUID) -> asyncpg.Record | None:
    return await db.fetchrow(
        "SELECT id, order_id, text, written_by, written_at FROM order_notes WHERE id = $1", note_id
    )


async def find_of_order(pool: Pool, order_id: UUID, limit: int) -> list[asyncpg.Record]:
    """The newest notes, the oldest of them first."""
    rows = await pool.fetch(
        """
        SELECT id, text, written_by, written_at
          FROM order_notes
         WHERE order_id = $1
         ORDER BY written_at DESC, id DESC
         LIMIT $2
        """,
        order_id,
        limit,
    )
    return rows[::-1]
