"""Bulks that people asked for here, and the answer for each order."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.kit.db import Connection, Pool


class Bulk(NamedTuple):
    """One action on many orders."""

    id: UUID
    action: str
    restock: bool | None
    """Of a refund: None restocks what has not been shipped."""
    requested_by: str
    reason: str
    amount: int | None = None
    """Of a refund of one order, in minor units: None refunds what is left."""


class Answered(NamedTuple):
    """What became of a command; `problem` says why it was refused."""

    command_id: UUID
    problem: str | None = None


async def insert_bulk(db: Connection, bulk: Bulk, now: datetime) -> bool:
    """Note what is asked; False when this id was there before."""
    status = await db.execute(
        """
        INSERT INTO bulks (id, action, restock, requested_by, reason, amount, requested_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (id) DO NOTHING
        """,
        *bulk,
        now,
    )
    return status == "INSERT 0 1"


async def insert_orders(db: Connection, bulk_id: UUID, commands: Mapping[UUID, UUID]) -> None:
    """The commands' ids by order."""
    await db.execute(
        """
        INSERT INTO bulk_orders (bulk_id, order_id, command_id)
        SELECT $1, * FROM unnest($2::uuid[], $3::uuid[])
        """,
        bulk_id,
        list(commands),
        list(commands.values()),
    )


async def save_answers(db: Connection, heard: Sequence[Answered], now: datetime) -> None:
    """The first answer to each that was asked for here; most commands are the gateway's."""
    once = {answer.command_id: answer for answer in reversed(heard)}
    answers = [once[command_id] for command_id in sorted(once)]
    await db.execute(
        """
        UPDATE bulk_orders
           SET answered_at = $3, problem = answered.problem
          FROM unnest($1::uuid[], $2::text[]) AS answered (command_id, problem)
         WHERE bulk_orders.command_id = answered.command_id AND answered_at IS NULL
        """,
        [answer.command_id for answer in answers],
        [answer.problem for answer in answers],
        now,
    )


async def save_failures(db: Connection, heard: Sequence[Answered], now: datetime) -> None:
    """What was taken on, and then could not be done."""
    once = {answer.command_id: answer for answer in heard}
    answers = [once[command_id] for command_id in sorted(once)]
    await db.execute(
        """
        UPDATE bulk_orders
           SET answered_at = coalesce(answered_at, $3), problem = failed.problem
          FROM unnest($1::uuid[], $2::text[]) AS failed (command_id, problem)
         WHERE bulk_orders.command_id = failed.command_id
        """,
        [answer.command_id for answer in answers],
        [answer.problem for answer in answers],
        now,
    )


async def list_bulks(pool: Pool, before: UUID | None, limit: int) -> list[asyncpg.Record]:
    """The newest first (ids tell their time), with how many of their orders were answered."""
    return await pool.fetch(
        """
        SELECT id, action, restock, amount, requested_by, reason, requested_at,
               orders, answered, refused
          FROM bulks
         CROSS JOIN LATERAL (SELECT count(*) AS orders, count(answered_at) AS answered,
                                    count(problem) AS refused
                               FROM bulk_orders WHERE bulk_id = id) AS counted
         WHERE ($1::uuid IS NULL OR id < $1)
         ORDER BY id DESC
         LIMIT $2
        """,
        before,
        limit,
    )


async def find_bulk(db: Connection, bulk_id: UUID) -> asyncpg.Record | None:
    return await db.fetchrow("SELECT * FROM bulks WHERE id = $1", bulk_id)


async def find_orders(db: Connection, bulk_id: UUID) -> list[asyncpg.Record]:
    """Each order of a bulk, with its answer and its status as last published."""
    return await db.fetch(
        """
        SELECT order_id, answered_at, problem, status, payment_status, amount_refunded, currency
          FROM bulk_orders LEFT JOIN orders USING (order_id)
         WHERE bulk_id = $1
         ORDER BY order_id
        """,
        bulk_id,
    )


async def find_unknown(db: Connection, order_ids: Collection[UUID]) -> list[UUID]:
    """Those that no topic has told of."""
    rows = await db.fetch(
        """
        SELECT order_id FROM unnest($1::uuid[]) AS asked (order_id)
         WHERE NOT EXISTS (SELECT FROM orders WHERE orders.order_id = asked.order_id)
        """,
        list(order_ids),
    )
    return [row["order_id"] for row in rows]
