"""What people asked to be done with parked messages, and what came of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from contracts.dead_letters import OperationAnswered, ParkedMessageChanged
from services.kit.db import Connection, Pool
from services.ops.rules import mask


async def insert_operations(db: Connection, rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    """Note what is asked; returns the ids of those for which nothing is under way already."""
    found = await db.fetch(
        """
        INSERT INTO operations (id, operation, service, parked_id, attempts, correlation_id,
                                requested_by, reason, requested_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::int[],
                             $6::text[], $7::text[], $8::text[], $9::timestamptz[])
        ON CONFLICT (service, parked_id) WHERE problem IS NULL AND outcome IS NULL DO NOTHING
        RETURNING id
        """,
        *map(list, zip(*rows, strict=True)),
    )
    return {row["id"] for row in found}


async def save_answers(db: Connection, heard: Sequence[OperationAnswered], now: datetime) -> None:
    await db.execute(
        """
        UPDATE operations
           SET answered_at = $3, problem = answered.problem
          FROM unnest($1::uuid[], $2::text[]) AS answered (id, problem)
         WHERE operations.id = answered.id AND answered_at IS NULL
        """,
        [m.operation_id for m in heard],
        [m.problem for m in heard],
        now,
    )


async def save_outcomes(db: Connection, heard: Sequence[ParkedMessageChanged]) -> None:
    """The first end that an operation came to."""
    ends = [m for m in heard if m.operation_id is not None and m.state != "replay"]
    await db.execute(
        """
        UPDATE operations
           SET outcome = ended.outcome, outcome_reason = ended.reason
          FROM unnest($1::uuid[], $2::text[], $3::text[]) AS ended (id, outcome, reason)
         WHERE operations.id = ended.id AND operations.outcome IS NULL
        """,
        [m.operation_id for m in ends],
        [m.state for m in ends],
        [mask(m.reason) if m.state == "parked" else None for m in ends],
    )


async def find_operations(pool: Pool, ids: Sequence[UUID]) -> list[asyncpg.Record]:
    return await pool.fetch("SELECT * FROM operations WHERE id = ANY($1) ORDER BY id", ids)


async def find_of_order(pool: Pool, subject: str, limit: int) -> list[asyncpg.Record]:
    return await pool.fetch(
        "SELECT * FROM operations WHERE correlation_id = $1 ORDER BY id LIMIT $2", subject, limit
    )


async def give_up(db: Connection, after: timedelta) -> None:
    """Commands that a service did not answer while they were on its topic."""
    await db.execute(
        """
        UPDATE operations SET problem = 'no answer'
         WHERE problem IS NULL AND outcome IS NULL AND requested_at < now() - $1::interval
        """,
        after,
    )
