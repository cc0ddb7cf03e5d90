"""The product view, which follows the compacted catalogue topic, and answers to commands."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import asyncpg

from contracts.inventory import Product
from services.gateway.channels import COMMAND_ANSWERED
from services.gateway.store.reading import readable
from services.kit.db import Connection, Pool


async def find_product(pool: Pool, product_id: UUID) -> Product | None:
    """The product, unless it is unknown or was removed."""
    row = await pool.fetchrow(
        "SELECT * FROM products WHERE product_id = $1 AND NOT removed", product_id
    )
    return _product(row) if row else None


async def find_products(pool: Pool, product_ids: Sequence[UUID]) -> dict[UUID, Product]:
    """Those of the products that were ever there, the removed ones too."""
    rows = await pool.fetch("SELECT * FROM products WHERE product_id = ANY($1)", product_ids)
    return {row["product_id"]: _product(row) for row in rows}


async def list_products(
    pool: Pool, after: UUID | None, limit: int
) -> list[tuple[UUID, Product | None]]:
    """The catalogue in order of id, of those behind `after`; None, counted and logged, for a row
    that cannot be read."""
    rows = await pool.fetch(
        """
        SELECT *
          FROM products
         WHERE NOT removed AND ($1::uuid IS NULL OR product_id > $1)
         ORDER BY product_id
         LIMIT $2
        """,
        after,
        limit,
    )
    return [
        (row["product_id"], readable("products", row["product_id"], partial(_product, row)))
        for row in rows
    ]


async def save_newer_products(db: Connection, products: Sequence[Product]) -> None:
    """Keep what is newer than the view; rows in order of id, so that consumers do not deadlock."""
    await db.execute(
        """
        INSERT INTO products (product_id, version, name, price, currency, available,
                              stock_quantity, low_stock_threshold, removed)
        SELECT *
          FROM unnest($1::uuid[], $2::int[], $3::text[], $4::bigint[], $5::text[], $6::boolean[],
                      $7::bigint[], $8::bigint[], $9::boolean[]) AS heard (product_id)
         ORDER BY product_id
        ON CONFLICT (product_id) DO UPDATE
           SET version = excluded.version, name = excluded.name, price = excluded.price,
               currency = excluded.currency, available = excluded.available,
               stock_quantity = excluded.stock_quantity,
               low_stock_threshold = excluded.low_stock_threshold, removed = excluded.removed
         WHERE products.version < excluded.version
        """,
        [product.product_id for product in products],
        [product.version for product in products],
        [product.name for product in products],
        [product.price for product in products],
        [product.currency for product in products],
        [product.available for product in products],
        [product.stock_quantity for product in products],
        [product.low_stock_threshold for product in products],
        [product.removed for product in products],
    )


async def save_answers(
    db: Connection, command_ids: Sequence[UUID], documents: Sequence[str]
) -> None:
    """Keep the answers, and tell all replicas of them.

    One notification each: commands of product administration are rare.
    """
    await db.execute(
        """
        WITH answered AS (
            INSERT INTO command_answers (command_id, document)
            SELECT command_id, document::json
              FROM unnest($1::uuid[], $2::text[]) AS heard (command_id, document)
             ORDER BY command_id
            ON CONFLICT (command_id) DO NOTHING
            RETURNING command_id
        )
        SELECT pg_notify($3, command_id::text) FROM answered
        """,
        command_ids,
        documents,
        COMMAND_ANSWERED,
    )


async def load_answers(db: Connection, command_ids: Sequence[str]) -> dict[str, str]:
    """The answers that somebody waits for, as far as they have come."""
    rows = await db.fetch(
        """
        SELECT command_id::text, document
          FROM command_answers
         WHERE command_id = ANY($1::text[]::uuid[])
        """,
        command_ids,
    )
    return {row["command_id"]: row["document"] for row in rows}


async def forget_answers(db: Connection, older_than: timedelta, limit: int) -> None:
    """Delete so many answers at once, the oldest first."""
    await db.execute(
        """
        DELETE FROM command_answers
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM command_answers
                                 WHERE received_at < now() - $1::interval
                                 ORDER BY received_at
                                 LIMIT $2))
        """,
        older_than,
        limit,
    )


def _product(row: asyncpg.Record) -> Product:
    return Product.model_validate(dict(row))
