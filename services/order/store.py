"""SQL of the order service: one function, one statement, any number of orders."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
from pydantic import TypeAdapter

from contracts.order import (
    CancelOrder,
    CartLine,
    OrderItem,
    OrderStatus,
    PaymentStatus,
    Problem,
    StatusChange,
)
from services.kit.db import Connection
from services.order.deadlines import Timer
from services.order.order import KNOWN_STATES, Order, State
from services.order.refunds import AskedRefund


class Stored(NamedTuple):
    """An order and the timer of its row."""

    order: Order
    timer: Timer


_PROBLEMS = TypeAdapter(tuple[Problem, ...])
_LINES = TypeAdapter(tuple[CartLine, ...])
_ITEMS = TypeAdapter(tuple[OrderItem, ...])
_REFUNDS = TypeAdapter(tuple[AskedRefund, ...])


async def insert_orders(db: Connection, orders: Sequence[Order], deadline: datetime) -> set[UUID]:
    """Insert new orders; returns those that did not exist. The trigger opens their history."""
    rows = await db.fetch(
        """
        INSERT INTO orders (id, customer_id, saga_state, status, lines, wanted_currency, updated_by,
                            reason, version, expires_at, deadline_at, created_at, updated_at)
        SELECT id, customer_id, saga_state, status, lines, wanted_currency, updated_by,
               reason, 1, expires_at, $9, created_at, created_at
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                      $7::text[], $8::timestamptz[], $10::timestamptz[], $11::json[])
            AS placed (id, customer_id, saga_state, status, wanted_currency, updated_by,
                       reason, expires_at, created_at, lines)
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """,
        [order.id for order in orders],
        [order.customer_id for order in orders],
        [order.state for order in orders],
        [order.status for order in orders],
        [order.wanted_currency for order in orders],
        [order.updated_by for order in orders],
        [order.reason for order in orders],
        [order.expires_at for order in orders],
        deadline,
        [order.created_at for order in orders],
        [_LINES.dump_json(order.lines).decode() for order in orders],
    )
    return {row["id"] for row in rows}


async def insert_early_cancellations(db: Connection, cancellations: Sequence[CancelOrder]) -> None:
    """Remember an undo that came before its do; the first one counts."""
    await db.execute(
        """
        INSERT INTO early_cancellations (order_id, requested_by, by_staff, reason, admin_notes)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bool[], $4::text[], $5::text[])
        ON CONFLICT (order_id) DO NOTHING
        """,
        [cancellation.order_id for cancellation in cancellations],
        [cancellation.requested_by for cancellation in cancellations],
        [cancellation.by_staff for cancellation in cancellations],
        [cancellation.reason for cancellation in cancellations],
        [cancellation.admin_notes for cancellation in cancellations],
    )


async def take_early_cancellations(
    db: Connection, order_ids: Collection[UUID]
) -> dict[UUID, CancelOrder]:
    rows = await db.fetch(
        "DELETE FROM early_cancellations WHERE order_id = ANY($1) RETURNING *", list(order_ids)
    )
    return {row["order_id"]: CancelOrder.model_validate(dict(row)) for row in rows}


async def lock_orders(db: Connection, order_ids: Collection[UUID]) -> list[asyncpg.Record]:
    """Lock rows in the order of their ids, so that two batches wait instead of deadlocking."""
    return await db.fetch(
        "SELECT * FROM orders WHERE id = ANY($1) ORDER BY id FOR UPDATE", list(order_ids)
    )


class DueOrder(NamedTuple):
    """An order whose deadline has passed. The rest of its row is not read: it may be invalid."""

    id: UUID
    saga_state: str


async def lock_due_orders(
    db: Connection, now: datetime, left_to_newer: timedelta, limit: int
) -> list[DueOrder]:
    """Lock orders whose deadline has passed, the longest overdue first; those that another replica
    holds are left to it. Those in an unknown state only once they are overdue for `left_to_newer`:
    before that, a replica of a newer release takes them."""
    rows = await db.fetch(
        """
        SELECT id, saga_state FROM orders
         WHERE deadline_at <= $1 AND (saga_state = ANY($2) OR deadline_at <= $3)
         ORDER BY deadline_at
         LIMIT $4
           FOR UPDATE SKIP LOCKED
        """,
        now,
        KNOWN_STATES,
        now - left_to_newer,
        limit,
    )
    return [DueOrder(*row) for row in rows]


async def load_orders(db: Connection, rows: Sequence[asyncpg.Record]) -> dict[UUID, Stored]:
    """The locked rows as orders, with their history.

    A statement of its own, after the lock: in the locking statement a sub-select could see the
    time before a concurrent batch committed.
    """
    changes = await db.fetch(
        """
        SELECT order_id, old_status, new_status, changed_by, reason, created_at
          FROM order_status_history
         WHERE order_id = ANY($1)
         ORDER BY id
        """,
        [row["id"] for row in rows],
    )
    history: dict[UUID, list[StatusChange]] = {row["id"]: [] for row in rows}
    for order_id, old_status, new_status, changed_by, reason, created_at in changes:
        change = StatusChange(
            old_status=old_status,
            new_status=new_status,
            changed_by=changed_by,
            reason=reason,
            created_at=created_at,
        )
        history[order_id].append(change)
    return {
        row["id"]: Stored(
            _order(row, history[row["id"]]),
            Timer(row["deadline_at"], row["rounds"], row["stuck_since"], row["stuck_reason"]),
        )
        for row in rows
    }


def _order(row: asyncpg.Record, history: Sequence[StatusChange]) -> Order:
    return Order(
        id=row["id"],
        customer_id=row["customer_id"],
        state=State(row["saga_state"]),
        status=OrderStatus(row["status"]),
        payment_status=PaymentStatus(row["payment_status"]),
        lines=_LINES.validate_json(row["lines"]),
        items=_ITEMS.validate_json(row["items"]),
        wanted_currency=row["wanted_currency"],
        total=row["total"],
        currency=row["currency"],
        payment_intent_id=row["payment_intent_id"],
        client_secret=row["client_secret"],
        intent_status=row["intent_status"],
        amount_refunded=row["amount_refunded"],
        payment_version=row["payment_version"],
        amount_lost=row["amount_lost"],
        amount_settled=row["amount_settled"],
        refunds=_REFUNDS.validate_json(row["refunds"]),
        problems=_PROBLEMS.validate_json(row["problems"]),
        admin_notes=row["admin_notes"],
        updated_by=row["updated_by"],
        reason=row["reason"],
        version=row["version"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        history=tuple(history),
    )


async def update_orders(db: Connection, changes: Sequence[Stored]) -> None:
    """Write what the saga and its timers changed. The trigger logs changes of status."""
    orders = [change.order for change in changes]
    timers = [change.timer for change in changes]
    await db.execute(
        """
        UPDATE orders
           SET saga_state = new.saga_state, status = new.status,
               payment_status = new.payment_status, total = new.total, currency = new.currency,
               payment_intent_id = new.payment_intent_id, client_secret = new.client_secret,
               intent_status = new.intent_status, amount_refunded = new.amount_refunded,
               problems = new.problems, admin_notes = new.admin_notes,
               updated_by = new.updated_by, reason = new.reason, version = new.version,
               updated_at = new.updated_at, deadline_at = new.deadline_at, rounds = new.rounds,
               stuck_since = new.stuck_since, payment_version = new.payment_version,
               items = new.items, amount_lost = new.amount_lost,
               amount_settled = new.amount_settled, refunds = new.refunds,
               refused_refund = new.refused_refund, stuck_reason = new.stuck_reason
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[],
                      $7::text[], $8::text[], $9::text[], $10::bigint[], $11::json[],
                      $12::text[], $13::text[], $14::text[], $15::int[], $16::timestamptz[],
                      $17::timestamptz[], $18::int[], $19::timestamptz[], $20::int[],
                      $21::json[], $22::bigint[], $23::bigint[], $24::json[], $25::text[],
                      $26::text[])
            AS new (id, saga_state, status, payment_status, total, currency, payment_intent_id,
                    client_secret, intent_status, amount_refunded, problems, admin_notes,
                    updated_by, reason, version, updated_at, deadline_at, rounds, stuck_since,
                    payment_version, items, amount_lost, amount_settled, refunds,
                    refused_refund, stuck_reason)
         WHERE orders.id = new.id
        """,
        [order.id for order in orders],
        [order.state for order in orders],
        [order.status for order in orders],
        [order.payment_status for order in orders],
        [order.total for order in orders],
        [order.currency for order in orders],
        [order.payment_intent_id for order in orders],
        [order.client_secret for order in orders],
        [order.intent_status for order in orders],
        [order.amount_refunded for order in orders],
        [_PROBLEMS.dump_json(order.problems).decode() for order in orders],
        [order.admin_notes for order in orders],
        [order.updated_by for order in orders],
        [order.reason for order in orders],
        [order.version for order in orders],
        [order.updated_at for order in orders],
        [timer.deadline_at for timer in timers],
        [timer.rounds for timer in timers],
        [timer.stuck_since for timer in timers],
        [order.payment_version for order in orders],
        [_ITEMS.dump_json(order.items).decode() for order in orders],
        [order.amount_lost for order in orders],
        [order.amount_settled for order in orders],
        [_REFUNDS.dump_json(order.refunds).decode() for order in orders],
        [order.refused_refund for order in orders],
        [timer.stuck_reason for timer in timers],
    )


async def make_due(db: Connection, order_ids: Sequence[UUID], now: datetime) -> None:
    """Orders that are locked are the sweeper's next."""
    await db.execute("UPDATE orders SET deadline_at = $2 WHERE id = ANY($1)", order_ids, now)


async def count_refused_refunds(db: Connection) -> int:
    """Orders that wait for a decision of staff."""
    count: int = await db.fetchval("SELECT count(*) FROM orders WHERE refused_refund IS NOT NULL")
    return count
