"""Orders as last published: their view, and where their sagas are."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from contracts.audit import OrderAudited, OrderWaits
from contracts.order import OrderUpdated
from services.kit.db import Connection, Pool
from services.kit.messages import storable
from services.ops.rules import mask


async def lock_orders(db: Connection, order_ids: Collection[UUID]) -> None:
    """Lock the rows of all orders of a batch in the order of their ids; an order begins here.

    Two statements write to them, and one replica may hear of an order's audit what another hears
    of its view: each of the statements in order would not keep the two from deadlocking.
    """
    await db.execute(
        """
        INSERT INTO orders (order_id)
        SELECT order_id FROM unnest($1::uuid[]) AS heard (order_id) ORDER BY order_id
        ON CONFLICT (order_id) DO UPDATE SET order_id = excluded.order_id WHERE false
        """,
        order_ids,
    )


async def save_newer_views(db: Connection, heard: Sequence[OrderUpdated]) -> None:
    """Keep what is newer, of orders that are locked."""
    newest = {m.order_id: m for m in sorted(heard, key=lambda m: m.version)}
    views = [newest[order_id] for order_id in sorted(newest)]
    await db.execute(
        """
        INSERT INTO orders (order_id, customer_id, version, status, payment_status, total, currency,
                            amount_refunded, payment_intent_id, created_at, updated_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::text[],
                             $6::bigint[], $7::text[], $8::bigint[], $9::text[],
                             $10::timestamptz[], $11::timestamptz[])
        ON CONFLICT (order_id) DO UPDATE
           SET customer_id = excluded.customer_id, version = excluded.version,
               status = excluded.status, payment_status = excluded.payment_status,
               total = excluded.total, currency = excluded.currency,
               amount_refunded = excluded.amount_refunded,
               payment_intent_id = excluded.payment_intent_id,
               created_at = excluded.created_at, updated_at = excluded.updated_at
         WHERE orders.version < excluded.version
        """,
        [m.order_id for m in views],
        [m.customer_id for m in views],
        [m.version for m in views],
        [m.status for m in views],
        [m.payment_status for m in views],
        [m.total for m in views],
        [m.currency for m in views],
        [m.amount_refunded for m in views],
        [m.payment.payment_intent_id if m.payment else None for m in views],
        [m.created_at for m in views],
        [m.updated_at for m in views],
    )


async def save_newer_states(db: Connection, heard: Sequence[OrderAudited]) -> None:
    """Keep newer saga states, each with the time of the change that led there, of orders that are
    locked."""
    newest = {m.order_id: m for m in sorted(heard, key=lambda m: m.version)}
    states = [newest[order_id] for order_id in sorted(newest)]
    await db.execute(
        """
        INSERT INTO orders (order_id, audit_version, saga_state, saga_since, refused_refund,
                            refused_amount, refused_since, amount_lost, amount_settled)
        SELECT order_id, version, saga_state, at, refused_refund, refused_amount,
               CASE WHEN refused_refund IS NOT NULL THEN at END, amount_lost, amount_settled
          FROM unnest($1::uuid[], $2::int[], $3::text[], $4::timestamptz[], $5::text[],
                      $6::bigint[], $7::bigint[], $8::bigint[])
            AS heard (order_id, version, saga_state, at, refused_refund, refused_amount,
                      amount_lost, amount_settled)
        ON CONFLICT (order_id) DO UPDATE
           SET audit_version = excluded.audit_version, saga_state = excluded.saga_state,
               saga_since = CASE WHEN orders.saga_state = excluded.saga_state
                                 THEN orders.saga_since ELSE excluded.saga_since END,
               rounds = CASE WHEN orders.saga_state = excluded.saga_state
                             THEN orders.rounds ELSE 0 END,
               next_try_at = CASE WHEN orders.saga_state = excluded.saga_state
                                  THEN orders.next_try_at END,
               refused_refund = excluded.refused_refund,
               refused_amount = excluded.refused_amount,
               refused_since = CASE WHEN orders.refused_refund IS NOT NULL
                                         AND excluded.refused_refund IS NOT NULL
                                    THEN orders.refused_since ELSE excluded.refused_since END,
               amount_lost = excluded.amount_lost, amount_settled = excluded.amount_settled,
               stuck_reason = CASE WHEN orders.saga_state = excluded.saga_state
                                   THEN orders.stuck_reason END
         WHERE orders.audit_version < excluded.audit_version
        """,
        [m.order_id for m in states],
        [m.version for m in states],
        [m.saga_state for m in states],
        [m.at for m in states],
        [m.refused_refund and storable(mask(m.refused_refund)) for m in states],
        [m.refused_amount for m in states],
        [m.amount_lost for m in states],
        [m.amount_settled for m in states],
    )


async def save_newer_waits(db: Connection, heard: Sequence[OrderWaits]) -> None:
    """Keep how orders wait, of orders that are locked, unless they have gone on since. An order
    that cannot be advanced may be in another state than its audit says: it was edited by SQL."""
    newest = {m.order_id: m for m in sorted(heard, key=lambda m: m.at)}
    waits = [newest[order_id] for order_id in sorted(newest)]
    await db.execute(
        """
        UPDATE orders
           SET rounds = told.rounds, next_try_at = told.next_try_at, waited_at = told.at,
               stuck_reason = told.stuck_reason
          FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[], $5::timestamptz[],
                      $6::text[])
            AS told (order_id, saga_state, rounds, next_try_at, at, stuck_reason)
         WHERE orders.order_id = told.order_id
           AND (orders.saga_state = told.saga_state
                OR coalesce(told.stuck_reason, orders.stuck_reason) IS NOT NULL)
           AND told.at >= orders.saga_since
           AND (orders.waited_at IS NULL OR orders.waited_at <= told.at)
        """,
        [m.order_id for m in waits],
        [m.saga_state for m in waits],
        [m.rounds for m in waits],
        [m.next_try_at for m in waits],
        [m.at for m in waits],
        [storable(mask(m.stuck_reason)) if m.stuck_reason else None for m in waits],
    )


async def find_order(pool: Pool, order_id: UUID) -> asyncpg.Record | None:
    return await pool.fetchrow("SELECT * FROM orders WHERE order_id = $1", order_id)


async def find_orders(pool: Pool, order_ids: Sequence[UUID]) -> list[asyncpg.Record]:
    """Those of these orders that are known, the newest first."""
    return await pool.fetch(
        "SELECT * FROM orders WHERE order_id = ANY($1) ORDER BY order_id DESC", order_ids
    )


async def find_order_of_intent(pool: Pool, payment_intent_id: str) -> UUID | None:
    found: UUID | None = await pool.fetchval(
        "SELECT order_id FROM orders WHERE payment_intent_id = $1", payment_intent_id
    )
    return found


async def list_orders(
    pool: Pool,
    status: str | None,
    customer_id: str | None,
    before: UUID | None,
    limit: int,
    *,
    since: UUID | None = None,
) -> list[asyncpg.Record]:
    """The newest first (ids tell their time), of those before an id, and not before another.

    Conditions that nobody asked for are left out: one that a parameter switches off keeps the plan
    from its index, and a page then reads all the orders before it.
    """
    asked = {
        "status =": status,
        "customer_id =": customer_id,
        "order_id <": before,
        "order_id >=": since,
    }
    given = {condition: value for condition, value in asked.items() if value is not None}
    wanted = " AND ".join(f"{condition} ${place}" for place, condition in enumerate(given, 2))
    return await pool.fetch(
        f"""
        SELECT * FROM orders WHERE {wanted or "true"} ORDER BY order_id DESC LIMIT $1
        """,  # noqa: S608  # constants
        limit,
        *given.values(),
    )


async def list_refused(pool: Pool, limit: int) -> list[asyncpg.Record]:
    """The orders with a refund that Stripe refused for good, the longest waiting first."""
    return await pool.fetch(
        """
        SELECT order_id, customer_id, status, payment_status, saga_state, total, currency,
               amount_refunded, amount_lost, amount_settled, refused_refund, refused_amount,
               refused_since
          FROM orders
         WHERE refused_refund IS NOT NULL
         ORDER BY refused_since, order_id
         LIMIT $1
        """,
        limit,
    )


class Counted(NamedTuple):
    """Orders in a state, and how many of them for long."""

    orders: int = 0
    long: int = 0


async def count_states(
    db: Connection, states: Sequence[str], long_since: datetime
) -> dict[str, Counted]:
    """Of the states that any order is in. States at an end, where orders stay, are not for this."""
    rows = await db.fetch(
        """
        SELECT saga_state, count(*) AS orders,
               count(*) FILTER (WHERE saga_since <= $2) AS long
          FROM orders
         WHERE saga_state = ANY($1)
         GROUP BY saga_state
        """,
        states,
        long_since,
    )
    return {row["saga_state"]: Counted(row["orders"], row["long"]) for row in rows}


async def count_statuses(pool: Pool, since: UUID) -> list[asyncpg.Record]:
    """How many orders of those from an id on have which status."""
    return await pool.fetch(
        """
        SELECT status, count(*) AS orders
          FROM orders
         WHERE order_id >= $1 AND status IS NOT NULL
         GROUP BY status
         ORDER BY orders DESC, status
        """,
        since,
    )


async def end_of_page(pool: Pool, after: UUID, orders: int) -> UUID | None:
    """The last id of a page of so many orders behind an id; None when there is none."""
    found: UUID | None = await pool.fetchval(
        """
        SELECT coalesce((SELECT order_id FROM orders
                          WHERE order_id > $1 ORDER BY order_id OFFSET $2 LIMIT 1),
                        (SELECT order_id FROM orders
                          WHERE order_id > $1 ORDER BY order_id DESC LIMIT 1))
        """,
        after,
        orders - 1,
    )
    return found


async def find_differences(
    pool: Pool, after: UUID, upto: UUID, settled_before: datetime, limit: int
) -> list[asyncpg.Record]:
    """Orders behind an id and up to another whose audit does not end with what was published of
    them, if that is some time ago: the two travel on topics of their own."""
    return await pool.fetch(
        """
        SELECT order_id, orders.version, orders.status, last.version AS audited,
               last.new_status AS audited_status
          FROM orders
          LEFT JOIN LATERAL (SELECT version, new_status FROM audit_records
                              WHERE subject = order_id::text AND topic = 'audit.order'
                                AND version IS NOT NULL
                              ORDER BY version DESC LIMIT 1) AS last ON true
         WHERE order_id > $1 AND order_id <= $2
           AND orders.version > 0 AND orders.updated_at <= $3
           AND (last.version IS NULL OR orders.version > last.version
                OR (orders.version = last.version AND orders.status <> last.new_status))
         ORDER BY order_id
         LIMIT $4
        """,
        after,
        upto,
        settled_before,
        limit,
    )
