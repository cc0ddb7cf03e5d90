"""Idempotency keys: one row per customer and key, from the request until it expires.

All times are the database's, so that replicas with different clocks agree on who is running.
"""

from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from services.kit.db import Connection

KEPT = timedelta(hours=24)


class KnownKey(NamedTuple):
    """What the key was used for, and how far that has come."""

    request_hash: bytes
    subject_id: UUID
    status_code: int | None
    response: str | None
    running_seconds: float
    """How much longer the first request may still be running; 0 or less when it cannot be."""


async def claim_key(
    db: Connection,
    *,
    customer_id: str,
    key: str,
    request_hash: bytes,
    subject_id: UUID,
    running_for: timedelta,
    status_code: int | None,
    response: str | None,
    order_document: str | None,
) -> bool:
    """Take the key, unless somebody has it; an expired one is taken anew.

    A concurrent request with the same key waits here for the first one's commit, and then does
    not get it. `order_document` is the new order's first view: in this statement, so that placing
    an order costs one round trip and a key never exists without its order.
    """
    claimed = await db.fetchval(
        """
        WITH claimed AS (
            INSERT INTO idempotency_keys AS mine
                   (customer_id, key, request_hash, subject_id, expires_at, running_until,
                    status_code, response)
            VALUES ($1, $2, $3, $4, now() + $5, now() + $6, $7, $8)
            ON CONFLICT (customer_id, key) DO UPDATE
               SET request_hash = excluded.request_hash, subject_id = excluded.subject_id,
                   created_at = now(), expires_at = excluded.expires_at,
                   running_until = excluded.running_until,
                   status_code = excluded.status_code, response = excluded.response
             WHERE mine.expires_at <= now()
            RETURNING subject_id
        ), placed AS (
            INSERT INTO orders (order_id, customer_id, version, document)
            SELECT subject_id, $1, 0, $9::json FROM claimed WHERE $9 IS NOT NULL
        )
        SELECT count(*) FROM claimed
        """,
        customer_id,
        key,
        request_hash,
        subject_id,
        KEPT,
        running_for,
        status_code,
        response,
        order_document,
    )
    return bool(claimed)


async def known_key(db: Connection, customer_id: str, key: str) -> KnownKey | None:
    """Read a key that is taken, locked against another repeat that resumes it."""
    row = await db.fetchrow(
        """
        SELECT request_hash, subject_id, status_code, response,
               extract(epoch FROM running_until - now())::float8 AS running_seconds
          FROM idempotency_keys
         WHERE customer_id = $1 AND key = $2
           FOR UPDATE
        """,
        customer_id,
        key,
    )
    return KnownKey(*row) if row else None


async def resume_key(db: Connection, customer_id: str, key: str, running_for: timedelta) -> None:
    """The first request died before it answered: its repeat is the one that is running now."""
    await db.execute(
        """
        UPDATE idempotency_keys SET running_until = now() + $3
         WHERE customer_id = $1 AND key = $2
        """,
        customer_id,
        key,
        running_for,
    )


async def store_answer(
    db: Connection, customer_id: str, key: str, subject_id: UUID, status_code: int, response: str
) -> tuple[int, str] | None:
    """Remember what the request was answered. The first answer stands, and is returned.

    None when the key no longer belongs to this request: it has expired.
    """
    row = await db.fetchrow(
        """
        UPDATE idempotency_keys
           SET status_code = coalesce(status_code, $4), response = coalesce(response, $5)
         WHERE customer_id = $1 AND key = $2 AND subject_id = $3
        RETURNING status_code, response
        """,
        customer_id,
        key,
        subject_id,
        status_code,
        response,
    )
    return (row["status_code"], row["response"]) if row else None


async def forget_expired_keys(db: Connection, limit: int) -> int:
    """Clear up to `limit` expired keys away, oldest first; says how many there were."""
    status = await db.execute(
        """
        DELETE FROM idempotency_keys
         WHERE ctid = ANY (ARRAY(
               SELECT ctid FROM idempotency_keys
                WHERE expires_at <= now()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED))
        """,
        limit,
    )
    return int(status.removeprefix("DELETE "))
