"""Evidence from PostgreSQL: each service's tables, read once."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import asyncpg

from deploy.verify.evidence import Evidence, Row, Waiting
from services.order.deadlines import WAITS_FOR_ANSWER


async def fetch(
    dsn: str, query: str, *values: Any, command_timeout: float | None = None
) -> list[asyncpg.Record]:
    """What one statement returns. Raises OSError or asyncpg.PostgresError."""
    db = await asyncpg.connect(dsn, timeout=10, command_timeout=command_timeout)
    try:
        return await db.fetch(query, *values)
    finally:
        await db.close(timeout=5)


async def rows(dsn: str, query: str, *values: Any) -> list[Row]:
    """The same, as evidence."""
    return [dict(row) for row in await fetch(dsn, query, *values)]


async def read_databases(dsn: Mapping[str, str], evidence: Evidence) -> None:
    """Fill in what the services' databases say; `dsn` by service."""
    await _orders(dsn["order"], evidence)
    await _inventory(dsn["inventory"], evidence)
    await _payments(dsn["payment"], evidence)
    await _gateway(dsn["gateway"], evidence)
    evidence.parked = [
        Waiting(f"{service}: {row['reason']}", row["count"])
        for service, address in dsn.items()
        for row in await rows(
            address,
            """
            SELECT reason, count(*) FROM parked_messages
             WHERE state IN ('parked', 'waiting', 'replay') GROUP BY 1
            """,
        )
    ]


async def under_way(dsn: Mapping[str, str]) -> list[Waiting]:
    """What the databases say is not finished: sagas, outboxes, calls to Stripe and leases."""
    found = [
        Waiting(f"order {row['state']}", row["count"])
        for row in await rows(
            dsn["order"],
            """
            SELECT CASE WHEN saga_state = ANY($1) THEN saga_state
                        ELSE 'overdue in ' || saga_state END AS state, count(*)
              FROM orders
             WHERE saga_state = ANY($1) OR deadline_at < now() - interval '5 s'
             GROUP BY 1
            """,
            WAITS_FOR_ANSWER,
        )
    ]
    for service, address in dsn.items():
        (row,) = await rows(address, "SELECT count(*) FROM outbox")
        found.append(Waiting(f"outbox row of {service}", row["count"]))
    (row,) = await rows(
        dsn["payment"], "SELECT count(*), count(lease_token) AS leased FROM stripe_calls"
    )
    found.append(Waiting("call to Stripe", row["count"]))
    found.append(Waiting("lease of a call to Stripe", row["leased"]))
    if "notification" in dsn:
        queued = "SELECT count(*) FROM mails WHERE state = 'queued'"
        (row,) = await rows(dsn["notification"], queued)
        found.append(Waiting("mail", row["count"]))
    return [waiting for waiting in found if waiting.number]


async def _orders(dsn: str, evidence: Evidence) -> None:
    for row in await rows(
        dsn,
        """
        SELECT id::text, customer_id, status, payment_status, saga_state, version, total, currency,
               amount_refunded, amount_lost, amount_settled, refused_refund, stuck_since,
               admin_notes, expires_at,
               (SELECT json_object_agg(product_id, pieces)
                  FROM (SELECT line ->> 'product_id' AS product_id,
                               sum((line ->> 'quantity')::int) AS pieces
                          FROM json_array_elements(lines) AS line
                         GROUP BY 1) AS added)::text AS wanted
          FROM orders
        """,
    ):
        evidence.orders[row["id"]] = row
    evidence.history = _grouped(
        await rows(
            dsn,
            "SELECT order_id::text, old_status, new_status FROM order_status_history ORDER BY id",
        ),
        "order_id",
    )


async def _inventory(dsn: str, evidence: Evidence) -> None:
    for row in await rows(
        dsn,
        """
        SELECT id::text, name, stock_quantity, movements_total, opening_stock,
               coalesce(moved.total, 0) AS moved, coalesce(moved.by_people, 0) AS by_people,
               coalesce(taken.held, 0) AS held, coalesce(taken.sold, 0) AS sold,
               opening_stock + least(walked.lowest, 0) AS lowest
          FROM products
          LEFT JOIN (SELECT product_id, sum(quantity) AS total,
                            sum(quantity) FILTER (WHERE order_id IS NULL) AS by_people
                       FROM stock_movements GROUP BY 1) AS moved ON moved.product_id = id
          LEFT JOIN (SELECT product_id,
                            sum(quantity) FILTER (WHERE state = 'held') AS held,
                            sum(quantity) FILTER (WHERE state = 'committed') AS sold
                       FROM reservations GROUP BY 1) AS taken ON taken.product_id = id
          -- Movements are numbered under the product's lock: their order is what happened.
          LEFT JOIN (SELECT product_id, min(level) AS lowest
                       FROM (SELECT product_id, sum(quantity) OVER earlier AS level
                               FROM stock_movements
                             WINDOW earlier AS (PARTITION BY product_id ORDER BY id)) AS walk
                      GROUP BY 1) AS walked ON walked.product_id = id
        """,
    ):
        evidence.products[row["id"]] = row
    evidence.reservations = _grouped(
        await rows(
            dsn,
            "SELECT order_id::text, product_id::text, quantity, price, state FROM reservations",
        ),
        "order_id",
    )
    moved: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in await rows(
        dsn,
        """
        SELECT order_id::text, product_id::text, action, quantity
          FROM stock_movements WHERE order_id IS NOT NULL ORDER BY id
        """,
    ):
        moved[row["order_id"], row["product_id"]].append(row)
    evidence.movements = dict(moved)


async def _payments(dsn: str, evidence: Evidence) -> None:
    for row in await rows(
        dsn,
        """
        SELECT order_id::text, status, payment_intent_id, amount, currency, amount_received,
               amount_refunded, coalesce(amount_lost, 0) AS amount_lost, version, problem
          FROM payments
        """,
    ):
        evidence.payments[row["order_id"]] = row
    for row in await rows(dsn, "SELECT event_id, outcome FROM stripe_events"):
        evidence.decided_events[row["event_id"]] = row["outcome"]


async def _gateway(dsn: str, evidence: Evidence) -> None:
    for row in await rows(dsn, "SELECT order_id::text, customer_id, version FROM orders"):
        evidence.views[row["order_id"]] = row
    for row in await rows(
        dsn, "SELECT customer_id, key, subject_id::text, status_code FROM idempotency_keys"
    ):
        evidence.keys[row["customer_id"], row["key"]] = row


def _grouped(found: list[Row], name: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        groups[row[name]].append(row)
    return dict(groups)
