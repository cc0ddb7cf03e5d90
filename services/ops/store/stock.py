"""Stock: levels as last published, and movements counted from the audit."""

from collections.abc import Mapping, Sequence
from datetime import date
from uuid import UUID

import asyncpg

from contracts.inventory import ProductUpdated
from contracts.topics import AUDIT_INVENTORY
from services.kit.db import Connection, Pool
from services.kit.messages import storable
from services.ops.movements import Cell, Change

Counted = Mapping[int, int]
"""By partition of audit.inventory: the position up to which records were counted."""


async def save_newer_levels(db: Connection, heard: Sequence[ProductUpdated]) -> None:
    """Keep what is newer; rows in order of id, so that replicas do not deadlock."""
    newest = {m.product_id: m for m in sorted(heard, key=lambda m: m.version)}
    products = [newest[product_id] for product_id in sorted(newest)]
    await db.execute(
        """
        INSERT INTO stock (product_id, version, name, level, threshold, available, removed)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[],
                             $6::boolean[], $7::boolean[])
        ON CONFLICT (product_id) DO UPDATE
           SET version = excluded.version, name = excluded.name, level = excluded.level,
               threshold = excluded.threshold, available = excluded.available,
               removed = excluded.removed
         WHERE stock.version < excluded.version
        """,
        [m.product_id for m in products],
        [m.version for m in products],
        [storable(m.name) for m in products],
        [m.stock_quantity for m in products],
        [m.low_stock_threshold for m in products],
        [m.available for m in products],
        [m.removed for m in products],
    )


# -- counting ----------------------------------------------------------------------------------


async def lock_uncounted(db: Connection) -> dict[int, int]:
    """The chains that have records not yet counted, locked in their order; up to where they are."""
    rows = await db.fetch(
        """
        INSERT INTO stock_counted (partition, position)
        SELECT partition, 0
          FROM audit_chains
          LEFT JOIN stock_counted USING (partition)
         WHERE topic = $1 AND length > coalesce(position, 0)
         ORDER BY partition
        ON CONFLICT (partition) DO UPDATE SET position = stock_counted.position
        RETURNING partition, position
        """,
        AUDIT_INVENTORY.name,
    )
    return {row["partition"]: row["position"] for row in rows}


async def read_uncounted(db: Connection, counted: Counted, limit: int) -> list[asyncpg.Record]:
    """The next records of each chain, in their order."""
    return await db.fetch(
        """
        SELECT partition, position, happened_at, payload
          FROM unnest($2::int[], $3::bigint[]) AS counted (partition, reached)
         CROSS JOIN LATERAL (SELECT position, happened_at, payload
                               FROM audit_records
                              WHERE topic = $1 AND audit_records.partition = counted.partition
                                AND position > reached
                              ORDER BY position
                              LIMIT $4) AS next
         ORDER BY partition, position
        """,
        AUDIT_INVENTORY.name,
        list(counted),
        list(counted.values()),
        limit,
    )


async def read_counted(
    db: Connection, counted: Counted, subjects: Sequence[str]
) -> list[asyncpg.Record]:
    """What of these orders was counted before; an order has one chain."""
    return await db.fetch(
        """
        SELECT happened_at, payload
          FROM audit_records
          JOIN unnest($2::int[], $3::bigint[]) AS counted (partition, reached) USING (partition)
         WHERE topic = $1 AND subject = ANY($4) AND position <= reached
         ORDER BY partition, position
        """,
        AUDIT_INVENTORY.name,
        list(counted),
        list(counted.values()),
        subjects,
    )


async def add_to_totals(db: Connection, changes: Sequence[Change]) -> None:
    """Changes in the order of their products."""
    await db.execute(
        """
        INSERT INTO stock (product_id, held, sold, moved, last_moved_at)
        SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[],
                             $5::timestamptz[])
        ON CONFLICT (product_id) DO UPDATE
           SET held = stock.held + excluded.held, sold = stock.sold + excluded.sold,
               moved = stock.moved + excluded.moved,
               last_moved_at = greatest(stock.last_moved_at, excluded.last_moved_at)
        """,
        *map(list, zip(*changes, strict=True)),
    )


async def add_to_days(db: Connection, cells: Sequence[tuple[Cell, int]]) -> None:
    """Cells in their order."""
    await db.execute(
        """
        INSERT INTO stock_days (product_id, day, kind, quantity)
        SELECT * FROM unnest($1::uuid[], $2::date[], $3::text[], $4::bigint[])
        ON CONFLICT (product_id, day, kind) DO UPDATE
           SET quantity = stock_days.quantity + excluded.quantity
        """,
        [cell.product_id for cell, _ in cells],
        [cell.day for cell, _ in cells],
        [cell.kind for cell, _ in cells],
        [quantity for _, quantity in cells],
    )


async def save_counted(db: Connection, counted: Counted) -> None:
    await db.execute(
        """
        UPDATE stock_counted SET position = reached
          FROM unnest($1::int[], $2::bigint[]) AS counted (partition, reached)
         WHERE stock_counted.partition = counted.partition
        """,
        list(counted),
        list(counted.values()),
    )


# -- reporting ---------------------------------------------------------------------------------


_LOW_AT = "coalesce(nullif(threshold, 0), $1::bigint)"
_LOW = f"(NOT removed AND level <= {_LOW_AT})"
"""A product is low at its own threshold, or at the first parameter when it has none."""


async def report(
    pool: Pool,
    *,
    low_at: int,
    low_only: bool,
    search: str | None,
    product_id: UUID | None,
    after: UUID | None,
    since: date,
    limit: int,
) -> list[asyncpg.Record]:
    """Products behind an id: their stock, and what was sold from a day on, returns taken off."""
    return await pool.fetch(
        f"""
        SELECT product_id, name, version, level, held, sold, moved, level - moved AS unrecorded,
               {_LOW_AT} AS threshold,
               coalesce({_LOW}, false) AS low,
               available, removed, last_moved_at, sold_lately,
               (SELECT min(day) FROM stock_days
                 WHERE stock_days.product_id = stock.product_id) AS first_day
          FROM stock
         CROSS JOIN LATERAL (
               SELECT coalesce(sum(CASE kind WHEN 'committed' THEN quantity
                                             WHEN 'returned' THEN -quantity END), 0)::bigint
                      AS sold_lately
                 FROM stock_days
                WHERE stock_days.product_id = stock.product_id AND day >= $6) AS lately
         WHERE (NOT $2 OR {_LOW})
           AND ($3::text IS NULL OR position(lower($3) IN lower(name)) > 0
                OR product_id::text = lower($3))
           AND ($4::uuid IS NULL OR product_id = $4)
           AND ($5::uuid IS NULL OR product_id > $5)
         ORDER BY product_id
         LIMIT $7
        """,  # noqa: S608  # constants
        low_at,
        low_only,
        search,
        product_id,
        after,
        since,
        limit,
    )


async def count_low(db: Connection, low_at: int) -> int:
    """How many products are low, in the meaning of `report`."""
    low: int = await db.fetchval(f"SELECT count(*) FROM stock WHERE {_LOW}", low_at)  # noqa: S608
    return low


async def find_days(pool: Pool, product_id: UUID, since: date) -> list[asyncpg.Record]:
    """What moved of a product from a day on."""
    return await pool.fetch(
        """
        SELECT day, kind, quantity FROM stock_days WHERE product_id = $1 AND day >= $2
        """,
        product_id,
        since,
    )
