"""The order view: the newest OrderUpdated of each order.

A document is the message's JSON, or the gateway's own first version of it (version 0).
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from contracts.order import OrderUpdated
from services.gateway.channels import ORDER_CHANGED
from services.gateway.store.reading import readable
from services.kit.db import Connection, Pool

_IDS_PER_NOTIFICATION = 200
"""A payload of NOTIFY may have 8,000 bytes, an id and its comma have 37."""


class StoredOrder(NamedTuple):
    customer_id: str
    document: str


async def find_order(pool: Pool, order_id: UUID) -> StoredOrder | None:
    row = await pool.fetchrow(
        "SELECT customer_id, document FROM orders WHERE order_id = $1", order_id
    )
    return StoredOrder(*row) if row else None


async def find_orders(pool: Pool, order_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The documents of those orders that exist."""
    rows = await pool.fetch(
        "SELECT order_id, document FROM orders WHERE order_id = ANY($1)", order_ids
    )
    return {row["order_id"]: row["document"] for row in rows}


async def list_orders(
    pool: Pool, customer_id: str, before: UUID | None, limit: int
) -> list[tuple[UUID, str]]:
    """Id and document of a customer's orders, newest first, of those older than `before`."""
    rows = await pool.fetch(
        """
        SELECT order_id, document
          FROM orders
         WHERE customer_id = $1 AND ($2::uuid IS NULL OR order_id < $2)
         ORDER BY order_id DESC
         LIMIT $3
        """,
        customer_id,
        before,
        limit,
    )
    return [(row["order_id"], row["document"]) for row in rows]


def read_order(order_id: UUID, document: str) -> OrderUpdated | None:
    """The order of a document; None, counted and logged, when it cannot be read."""
    return readable("orders", order_id, lambda: OrderUpdated.model_validate_json(document))


async def load_waited_for(db: Connection, order_ids: Sequence[str]) -> dict[str, str]:
    """The documents of orders that somebody waits for."""
    rows = await db.fetch(
        "SELECT order_id::text, document FROM orders WHERE order_id = ANY($1::text[]::uuid[])",
        order_ids,
    )
    return {row["order_id"]: row["document"] for row in rows}


async def save_newer_orders(
    db: Connection,
    order_ids: Sequence[UUID],
    customer_ids: Sequence[str],
    versions: Sequence[int],
    documents: Sequence[str],
) -> None:
    """Keep what is newer than the view, and tell all replicas which orders that were.

    Rows are taken in order of id, so that two consumers wait instead of deadlocking.
    """
    await db.execute(
        """
        WITH newer AS (
            INSERT INTO orders (order_id, customer_id, version, document)
            SELECT order_id, customer_id, version, document::json
              FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[])
                AS heard (order_id, customer_id, version, document)
             ORDER BY order_id
            ON CONFLICT (order_id) DO UPDATE
               SET version = excluded.version, document = excluded.document
             WHERE orders.version < excluded.version
            RETURNING order_id
        ), numbered AS (
            SELECT order_id, row_number() OVER () / $6 AS payload FROM newer
        )
        SELECT pg_notify($5, string_agg(order_id::text, ',')) FROM numbered GROUP BY payload
        """,
        order_ids,
        customer_ids,
        versions,
        documents,
        ORDER_CHANGED,
        _IDS_PER_NOTIFICATION,
    )
