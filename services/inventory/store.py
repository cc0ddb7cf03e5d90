"""The SQL of orders and stock: one function, one statement, any number of rows.

Everybody locks orders before products, and each in the order of their ids, so that two replicas
wait for each other instead of deadlocking. The catalogue's and the administration's statements
are in `product_store`.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from pydantic import TypeAdapter

from contracts.inventory import ProductUpdated
from contracts.order import OrderItem, Problem
from services.inventory.product_store import PUBLISHED, as_published
from services.inventory.rules import (
    LockedProduct,
    Movement,
    Outcome,
    Rejected,
    Reserved,
    Restored,
    StockChange,
)
from services.kit.db import Connection

_ITEMS: Final = TypeAdapter(tuple[OrderItem, ...])
_PROBLEMS: Final = TypeAdapter(tuple[Problem, ...])


async def lock_orders(db: Connection, order_ids: Collection[UUID]) -> dict[UUID, Outcome]:
    """What became of these orders before; those that nobody asked about are missing."""
    rows = await db.fetch(
        """
        SELECT order_id, state, currency, problems,
               CASE WHEN state = 'reserved' THEN
                   (SELECT json_agg(json_build_object('product_id', product_id, 'name', name,
                                                      'quantity', quantity, 'price', price)
                                    ORDER BY line)
                      FROM reservations
                     WHERE reservations.order_id = reservation_orders.order_id)
               END AS items
          FROM reservation_orders
         WHERE order_id = ANY($1)
         ORDER BY order_id
           FOR UPDATE
        """,
        order_ids,
    )
    known: dict[UUID, Outcome] = {}
    for order_id, state, currency, problems, items in rows:
        if state == "reserved":
            known[order_id] = Reserved(order_id, _ITEMS.validate_json(items), currency)
        elif state == "rejected":
            known[order_id] = Rejected(order_id, _PROBLEMS.validate_json(problems))
        else:
            known[order_id] = Restored(order_id)
    return known


async def lock_products(db: Connection, product_ids: Collection[UUID]) -> list[LockedProduct]:
    """The products that exist, locked until the transaction's end. In one statement and in the
    order of ids: this is what keeps concurrent batches from overselling and from deadlocking."""
    rows = await db.fetch(
        """
        SELECT id, name, price, currency, available, removed_at IS NOT NULL, stock_quantity,
               sold_out
          FROM products
         WHERE id = ANY($1)
         ORDER BY id
           FOR UPDATE
        """,
        product_ids,
    )
    return [LockedProduct(*row) for row in rows]


async def move_stock(
    db: Connection,
    changes: Sequence[StockChange],
    movements: Sequence[Movement],
    now: datetime,
    publish_every: timedelta | None,
) -> list[ProductUpdated]:
    """Change levels and book the movements; returns what is to be published with this transaction.

    A product that was published for orders' sake less than `publish_every` ago is left to
    `publish_catalog`; None publishes at once and does not count. The products are locked.
    """
    rows = await db.fetch(
        f"""
        WITH booked AS (
            INSERT INTO stock_movements
                   (product_id, quantity, action, reason, changed_by, order_id, created_at)
            SELECT *, $9
              FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::uuid[])
        ), moved AS (
            UPDATE products
               SET stock_quantity = stock_quantity + delta,
                   movements_total = movements_total + delta,
                   sold_out = change.sold_out,
                   version = version + 1,
                   updated_at = $9,
                   published_version = CASE WHEN coalesce(stock_published_at <= $10, true)
                                            THEN version + 1 ELSE published_version END,
                   stock_published_at = CASE WHEN stock_published_at <= $10
                                             THEN $9 ELSE stock_published_at END,
                   settled = false
              FROM unnest($7::uuid[], $8::bigint[], $11::boolean[])
                AS change (product_id, delta, sold_out)
             WHERE id = change.product_id
            RETURNING products.*
        )
        SELECT {PUBLISHED} FROM moved WHERE published_version = version
        """,  # noqa: S608  # a constant list of columns
        [movement.product_id for movement in movements],
        [movement.quantity for movement in movements],
        [movement.action for movement in movements],
        [movement.reason for movement in movements],
        [movement.changed_by for movement in movements],
        [movement.order_id for movement in movements],
        [change.product_id for change in changes],
        [change.delta for change in changes],
        now,
        None if publish_every is None else now - publish_every,
        [change.sold_out for change in changes],
    )
    return as_published(rows)


async def save_orders(db: Connection, outcomes: Iterable[Outcome], now: datetime) -> None:
    """Remember what became of orders that were not known, with the reservations of each.

    Raises:
        asyncpg.UniqueViolationError: another replica answered one of them meanwhile.
    """
    outcomes = list(outcomes)
    lines = [
        (outcome.order_id, number, item)
        for outcome in outcomes
        if isinstance(outcome, Reserved)
        for number, item in enumerate(outcome.items)
    ]
    await db.execute(
        """
        WITH answered AS (
            INSERT INTO reservation_orders
                   (order_id, state, currency, problems, created_at, updated_at)
            SELECT order_id, state, currency, problems::json, $11, $11
              FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                AS answer (order_id, state, currency, problems)
             ORDER BY order_id
        )
        INSERT INTO reservations
               (order_id, line, product_id, name, quantity, price, state, created_at, updated_at)
        SELECT *, 'held', $11, $11
          FROM unnest($5::uuid[], $6::smallint[], $7::uuid[], $8::text[], $9::bigint[],
                      $10::bigint[])
        """,
        [outcome.order_id for outcome in outcomes],
        [_STATE[type(outcome)] for outcome in outcomes],
        [outcome.currency if isinstance(outcome, Reserved) else None for outcome in outcomes],
        [
            _PROBLEMS.dump_json(outcome.problems).decode()
            if isinstance(outcome, Rejected)
            else None
            for outcome in outcomes
        ],
        [order_id for order_id, _, _ in lines],
        [number for _, number, _ in lines],
        [item.product_id for _, _, item in lines],
        [item.name for _, _, item in lines],
        [item.quantity for _, _, item in lines],
        [item.price for _, _, item in lines],
        now,
    )


_STATE: Final[dict[type[Outcome], str]] = {
    Reserved: "reserved",
    Rejected: "rejected",
    Restored: "restored",
}


async def restore_orders(db: Connection, order_ids: Sequence[UUID], now: datetime) -> None:
    """Move the rows of orders whose stock goes back. A row that was moved before is refused by the
    database, so stock cannot come back twice."""
    await db.execute(
        """
        WITH restored AS (
            UPDATE reservation_orders SET state = 'restored', updated_at = $2
             WHERE order_id = ANY($1)
        )
        UPDATE reservations SET state = 'restored', updated_at = $2 WHERE order_id = ANY($1)
        """,
        order_ids,
        now,
    )


class Commitment(NamedTuple):
    order_id: UUID
    state: str | None
    """Of the order, None when it is not known."""
    committed: bool
    """Now, and not before."""


async def commit_orders(
    db: Connection, order_ids: Sequence[UUID], now: datetime
) -> list[Commitment]:
    """Move what is held to sold, and say how things are with each order that was asked for."""
    rows = await db.fetch(
        """
        WITH committed AS (
            UPDATE reservations SET state = 'committed', updated_at = $2
             WHERE order_id = ANY($1) AND state = 'held'
            RETURNING order_id
        )
        SELECT order_id, state, order_id IN (SELECT order_id FROM committed)
          FROM unnest($1::uuid[]) AS asked (order_id)
          LEFT JOIN reservation_orders USING (order_id)
        """,
        order_ids,
        now,
    )
    return [Commitment(*row) for row in rows]
