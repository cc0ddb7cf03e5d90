"""The SQL of the payment service: one function, one statement.

Rows travel as one JSON array that `json_populate_recordset` reads by the table's own types, so a
statement handles any number of rows. Columns are named, also where all are meant: a later release
may have added some, and they get their defaults. Payments are locked in the order of their ids by
everybody, and before anything else, so that two batches wait for each other instead of deadlocking.
(Two handlers in one batch lock one after the other; the rare deadlock is the kit's to repeat.)
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from contracts.stripe import StripeEventReceived
from services.kit.db import Connection
from services.payment.model import (
    PAYMENT_COLUMNS,
    REFUND_COLUMNS,
    Payment,
    Refund,
    RefundStatus,
    Result,
    Status,
)

_PAYMENT = ", ".join(PAYMENT_COLUMNS)
_REFUND = ", ".join(REFUND_COLUMNS)

# -- payments ----------------------------------------------------------------------------------


async def insert_payments(db: Connection, payments: Iterable[Payment]) -> set[UUID]:
    """Insert those that are not there yet; returns which were inserted. Also the check whether a
    payment exists: two replicas that ask at once wait here, and one of them is told."""
    rows = await db.fetch(
        f"""
        INSERT INTO payments ({_PAYMENT})
        SELECT {_PAYMENT} FROM json_populate_recordset(NULL::payments, $1::json) ORDER BY order_id
        ON CONFLICT (order_id) DO NOTHING
        RETURNING order_id
        """,  # noqa: S608
        _json(payment.row() for payment in payments),
    )
    return {row["order_id"] for row in rows}


async def lock_payments(
    db: Connection, order_ids: Collection[UUID], intent_ids: Collection[str] = ()
) -> list[Payment]:
    """The payments of these orders and intents, locked until the transaction's end."""
    rows = await db.fetch(
        f"""
        SELECT {_PAYMENT}
          FROM payments
         WHERE order_id IN (SELECT unnest($1::uuid[])
                             UNION
                            SELECT order_id FROM payments WHERE payment_intent_id = ANY($2))
         ORDER BY order_id
           FOR UPDATE
        """,  # noqa: S608  # column names are constants
        list(order_ids),
        list(intent_ids),
    )
    return [
        Payment(
            **{
                **row,
                "status": Status(row["status"]),
                # Null in rows of replicas of the version before.
                "disputed": bool(row["disputed"]),
                "disputes": orjson.loads(row["disputes"] or "{}"),
                "amount_lost": row["amount_lost"] or 0,
            }
        )
        for row in rows
    ]


async def update_payments(db: Connection, payments: Iterable[Payment]) -> None:
    """Write back payments that are locked by this transaction."""
    await db.execute(
        """
        UPDATE payments AS payment
           SET payment_intent_id = changed.payment_intent_id,
               client_secret = changed.client_secret,
               status = changed.status,
               intent_status = changed.intent_status,
               amount_received = changed.amount_received,
               amount_refunded = changed.amount_refunded,
               refund_failed = changed.refund_failed,
               cancel_requested = changed.cancel_requested,
               check_requested = changed.check_requested,
               calling = changed.calling,
               calls = changed.calls,
               failure_message = changed.failure_message,
               failure_code = changed.failure_code,
               problem = changed.problem,
               disputed = changed.disputed,
               disputes = changed.disputes,
               amount_lost = changed.amount_lost,
               version = changed.version,
               updated_at = changed.updated_at
          FROM json_populate_recordset(NULL::payments, $1::json) AS changed
         WHERE payment.order_id = changed.order_id
        """,
        _json(payment.row() for payment in payments),
    )


class DueCheck(NamedTuple):
    order_id: UUID
    fell_due: datetime


async def due_checks(
    db: Connection, since: datetime, until: datetime, first_age: timedelta, limit: int
) -> list[DueCheck]:
    """Payments and refunds that wait for news and came of age between the two times: of
    `first_age`, or of twice, four times, ... as much (up to 32,768 times). The longest due first,
    all of the last moment included, so that the next look begins after it."""
    rows = await db.fetch(
        """
        WITH ages AS (
            SELECT $3::interval * 2 ^ doubled AS age FROM generate_series(0, 15) AS doubled
        )
        SELECT order_id, created_at + age AS fell_due
          FROM ages,
       LATERAL (SELECT order_id, created_at
                  FROM payments
                 WHERE created_at > $1::timestamptz - age AND created_at <= $2::timestamptz - age
                   AND status IN ('creating', 'open', 'failed') AND NOT calling
                 ORDER BY created_at
                 FETCH FIRST $4 ROWS WITH TIES) AS open
         UNION ALL
        SELECT order_id, created_at + age
          FROM ages
          JOIN refunds ON created_at > $1::timestamptz - age
                      AND created_at <= $2::timestamptz - age
         WHERE status IN ('pending', 'failing')
         ORDER BY fell_due
         FETCH FIRST $4 ROWS WITH TIES
        """,
        since,
        until,
        first_age,
        limit,
    )
    return [DueCheck(*row) for row in rows]


async def count_disputed(db: Connection) -> int:
    count: int = await db.fetchval("SELECT count(*) FROM payments WHERE disputed")
    return count


# -- refunds -----------------------------------------------------------------------------------


async def refunds_of(db: Connection, order_ids: Collection[UUID]) -> list[Refund]:
    """The refunds of payments that are locked by this transaction."""
    rows = await db.fetch(
        f"SELECT {_REFUND} FROM refunds WHERE order_id = ANY($1) ORDER BY created_at, refund_id",  # noqa: S608
        list(order_ids),
    )
    return [
        Refund(**{**row, "status": RefundStatus(row["status"]), "final": bool(row["final"])})
        for row in rows
    ]


async def save_refunds(db: Connection, refunds: Iterable[Refund]) -> None:
    """Insert or write back refunds of payments that are locked by this transaction."""
    await db.execute(
        f"""
        INSERT INTO refunds AS refund ({_REFUND})
        SELECT {_REFUND} FROM json_populate_recordset(NULL::refunds, $1::json)
        ON CONFLICT (refund_id) DO UPDATE
           SET amount = excluded.amount,
               status = excluded.status,
               stripe_refund_id = excluded.stripe_refund_id,
               attempt = excluded.attempt,
               failure_message = excluded.failure_message,
               failure_code = excluded.failure_code,
               final = excluded.final,
               updated_at = excluded.updated_at
         WHERE refund.order_id = excluded.order_id
        """,  # noqa: S608
        _json(refunds),
    )


# -- events ------------------------------------------------------------------------------------


async def decided_events(db: Connection, event_ids: Collection[str]) -> set[str]:
    """Which events were decided before. Parked ones were not: their replay is to be tried."""
    rows = await db.fetch(
        "SELECT event_id FROM stripe_events WHERE event_id = ANY($1) AND outcome <> 'parked'",
        list(event_ids),
    )
    return {row["event_id"] for row in rows}


class DecidedEvent(NamedTuple):
    event: StripeEventReceived
    order_id: UUID | None
    outcome: Result
    reason: str | None
    found: bool
    """Whether it was found in Stripe's list."""


async def save_events(db: Connection, decided: Sequence[DecidedEvent], now: datetime) -> None:
    """Store what became of each event; a replay replaces `parked`."""
    await db.execute(
        """
        INSERT INTO stripe_events (event_id, event_type, created, object_id, order_id,
                                   payment_intent_id, outcome, reason, found, received_at)
        SELECT event_id, event_type, to_timestamp(created), object_id, order_id,
               payment_intent_id, outcome, reason, found, $10
          FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::uuid[], $6::text[],
                      $7::text[], $8::text[], $9::bool[])
            AS seen (event_id, event_type, created, object_id, order_id, payment_intent_id,
                     outcome, reason, found)
        ON CONFLICT (event_id) DO UPDATE
           SET outcome = excluded.outcome, reason = excluded.reason, order_id = excluded.order_id,
               found = excluded.found
        """,
        [item.event.event_id for item in decided],
        [item.event.event_type for item in decided],
        [item.event.created for item in decided],
        [item.event.object.id for item in decided],
        [item.order_id for item in decided],
        [item.event.object.intent_id for item in decided],
        [item.outcome for item in decided],
        [item.reason for item in decided],
        [item.found for item in decided],
        now,
    )


async def forget_events(db: Connection, before: datetime, limit: int) -> None:
    """Delete events received, or sent, before then: so many of each at once."""
    await db.execute(
        """
        WITH sent AS (
            DELETE FROM events_sent
             WHERE ctid = ANY(ARRAY(SELECT ctid FROM events_sent WHERE sent_at < $1 LIMIT $2))
        )
        DELETE FROM stripe_events
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM stripe_events WHERE received_at < $1 LIMIT $2))
        """,
        before,
        limit,
    )


def _json(rows: Iterable[Any]) -> str:
    return orjson.dumps(list(rows), default=str).decode()  # asyncpg's UUID is its own
