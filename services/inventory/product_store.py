"""The SQL of the catalogue and of product administration: one function, one statement."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from contracts.inventory import ProductUpdated, PutProduct, RemoveProduct
from services.kit.db import Connection

PUBLISHED: Final = """
    id, version, name, price, currency, available, stock_quantity, low_stock_threshold,
    removed_at IS NOT NULL AS removed
"""
"""The columns that `as_published` reads."""


def as_published(rows: Iterable[asyncpg.Record]) -> list[ProductUpdated]:
    return [
        ProductUpdated(
            product_id=row["id"],
            version=row["version"],
            name=row["name"],
            price=row["price"],
            currency=row["currency"],
            available=row["available"],
            stock_quantity=row["stock_quantity"],
            low_stock_threshold=row["low_stock_threshold"],
            removed=row["removed"],
        )
        for row in rows
    ]


async def put_products(
    db: Connection, commands: Sequence[PutProduct], now: datetime
) -> list[ProductUpdated]:
    """Create products with stock 0, or replace all but the stock; a removed one is back."""
    rows = await db.fetch(
        f"""
        INSERT INTO products AS product
               (id, name, price, currency, available, low_stock_threshold, published_version,
                created_at, updated_at)
        SELECT *, 1, $7, $7
          FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::int[])
            AS put (id, name, price, currency, available, low_stock_threshold)
         ORDER BY id
        ON CONFLICT (id) DO UPDATE
           SET name = excluded.name,
               price = excluded.price,
               currency = excluded.currency,
               available = excluded.available,
               low_stock_threshold = excluded.low_stock_threshold,
               removed_at = NULL,
               version = product.version + 1,
               published_version = product.version + 1,
               settled = false,
               updated_at = $7
        RETURNING {PUBLISHED}
        """,  # noqa: S608  # a constant list of columns
        [command.product_id for command in commands],
        [command.name for command in commands],
        [command.price for command in commands],
        [command.currency for command in commands],
        [command.available for command in commands],
        [command.low_stock_threshold for command in commands],
        now,
    )
    return as_published(rows)


async def remove_products(
    db: Connection, commands: Sequence[RemoveProduct], now: datetime
) -> list[ProductUpdated]:
    """Take locked products off the catalogue."""
    rows = await db.fetch(
        f"""
        UPDATE products
           SET removed_at = $2,
               version = version + 1,
               published_version = version + 1,
               settled = false,
               updated_at = $2
         WHERE id = ANY($1)
        RETURNING {PUBLISHED}
        """,  # noqa: S608  # a constant list of columns
        [command.product_id for command in commands],
        now,
    )
    return as_published(rows)


async def lock_unpublished(
    db: Connection, now: datetime, *, settle_after: timedelta, limit: int
) -> list[UUID]:
    """Lock the products whose newest version is not on the catalogue yet.

    Two replicas may publish two versions of a product in the wrong order, and a crash leaves one
    to a sweeper. Readers do not care (they take newer versions only), but compaction keeps the
    last record. So a product that has been quiet for `settle_after` is published once more, when
    the outbox has nothing that old (half of it, for clocks that differ): what was decided before is
    on the topic then, and what comes last is the newest.
    """
    rows = await db.fetch(
        """
        SELECT id
          FROM products
         WHERE (published_version < version OR NOT settled)
           AND (published_version < version
                OR updated_at < $1::timestamptz - $2::interval
                   AND NOT EXISTS (SELECT FROM outbox WHERE created_at < now() - $2::interval / 2))
         ORDER BY updated_at
         LIMIT $3
           FOR UPDATE SKIP LOCKED
        """,
        now,
        settle_after,
        limit,
    )
    return [row["id"] for row in rows]


async def mark_published(
    db: Connection, product_ids: Sequence[UUID], now: datetime
) -> list[ProductUpdated]:
    """The newest versions of locked products, marked as published.

    Raises:
        pydantic.ValidationError: a row holds what no message can say.
    """
    rows = await db.fetch(
        f"""
        UPDATE products
           SET published_version = version,
               stock_published_at = CASE WHEN published_version < version
                                         THEN $2 ELSE stock_published_at END,
               settled = published_version = version
         WHERE id = ANY($1)
        RETURNING {PUBLISHED}
        """,  # noqa: S608  # a constant list of columns
        product_ids,
        now,
    )
    return as_published(rows)


async def postpone_publishing(db: Connection, product_ids: Sequence[UUID], now: datetime) -> None:
    """Set locked products aside: each is due again when it changes, or has been quiet for a
    while."""
    await db.execute(
        """
        UPDATE products SET published_version = version, settled = false, updated_at = $2
         WHERE id = ANY($1)
        """,
        product_ids,
        now,
    )
