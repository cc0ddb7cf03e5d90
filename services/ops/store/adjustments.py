"""Adjustments of stock that people asked for here, and what inventory answered."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from contracts.inventory import AdjustStock, ProductCommandDone
from services.kit.db import Connection, Pool
from services.ops.rules import mask


async def insert_adjustment(
    db: Connection, adjustment_id: UUID, command: AdjustStock, now: datetime
) -> bool:
    """Note what is asked; False when this id was there before."""
    status = await db.execute(
        """
        INSERT INTO stock_adjustments (id, product_id, delta, requested_by, reason, requested_at)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (id) DO NOTHING
        """,
        adjustment_id,
        command.product_id,
        command.delta,
        command.requested_by,
        command.reason,
        now,
    )
    return status == "INSERT 0 1"


async def save_answers(db: Connection, heard: Sequence[ProductCommandDone], now: datetime) -> None:
    """The first answer to each that was asked for here; most commands are the gateway's."""
    once = {m.command_id: m for m in heard}
    answers = [once[command_id] for command_id in sorted(once)]
    await db.execute(
        """
        UPDATE stock_adjustments
           SET answered_at = $5, code = answered.code, problem = answered.problem,
               level = answered.level
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[])
               AS answered (id, code, problem, level)
         WHERE stock_adjustments.id = answered.id AND answered_at IS NULL
        """,
        [m.command_id for m in answers],
        [m.problem.code if m.problem else None for m in answers],
        [mask(m.problem.message) if m.problem else None for m in answers],
        [m.product.stock_quantity if m.product else None for m in answers],
        now,
    )


async def find_adjustment(db: Connection, adjustment_id: UUID) -> asyncpg.Record | None:
    return await db.fetchrow("SELECT * FROM stock_adjustments WHERE id = $1", adjustment_id)


async def find_of_product(pool: Pool, product_id: UUID, limit: int) -> list[asyncpg.Record]:
    """What was asked of a product, the newest first."""
    return await pool.fetch(
        """
        SELECT * FROM stock_adjustments
         WHERE product_id = $1 ORDER BY requested_at DESC, id LIMIT $2
        """,
        product_id,
        limit,
    )


async def give_up_adjustments(db: Connection, after: timedelta) -> None:
    """Commands that inventory did not answer while they were on its topic."""
    await db.execute(
        """
        UPDATE stock_adjustments SET answered_at = now(), problem = 'no answer'
         WHERE answered_at IS NULL AND requested_at < now() - $1::interval
        """,
        after,
    )
