"""What an order costs as the tables grow, what it leaves on disk, and what retention frees of that.

On databases of its own: finished orders are written into all tables until there are so many, as if
they had been placed before, and then orders are placed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cpu import cpu_seconds
from benchmarks.peers import costs, database
from benchmarks.peers.contenders import MANY, SERVICES, Ours
from contracts.topics import TOPICS
from deploy.local.stack import LocalStack
from services.kit.settings import ServiceSettings

SIZES = (10_000, 100_000, 1_000_000)
"""Finished orders in the tables."""
_INBOX = "inbox"
_EMPTIED = (".outbox", ".stripe_calls")


def measured(stack: LocalStack, orders: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Orders per second and CPU per order at each size, and bytes per order at the last one.

    The books are checked at the end.
    """
    stack.down()
    stack.clean()
    stack.up_infrastructure()
    ours = Ours(stack, [], batch_size=None, window=8000)
    ours.start()
    ours.stop()
    points, there = [], 0
    for size in sizes:
        _fill(ours, there + 1, size)
        there = size
        ours.start()
        try:
            ours.run(orders // 2, MANY)  # warm
            cpu, disk = cpu_seconds(stack, ours.pids()), _disk(stack)
            rate = ours.run(orders, MANY)
            spent = costs.microseconds(cpu, cpu_seconds(stack, ours.pids()), orders)
        finally:
            ours.stop()
        points.append({"finished": size, "orders_per_s": round(rate, 1), "cpu_us_per_order": spent})
        print(f"growth {points[-1]}", flush=True)
    database.check(ours.databases)
    after = _disk(stack)
    left = {what: round((after[what] - disk.get(what, 0)) / orders) for what in after}
    return {"points": points, "bytes_per_order": _by_retention(left)}


def _disk(stack: LocalStack) -> dict[str, int]:
    """Bytes by table (with its indexes; of all inboxes together) and by topic."""
    found: dict[str, int] = {}
    for service in SERVICES:
        query = """
            SELECT json_object_agg(relname, pg_total_relation_size(oid))::text AS sizes
              FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
            """
        sizes = json.loads(database.fetch(stack.postgres[service], query)["sizes"])
        for table, size in sizes.items():
            name = _INBOX if table.startswith(_INBOX) else f"{service}.{table}"
            found[name] = found.get(name, 0) + size
    return found | costs.kafka_bytes(stack)


def _by_retention(left: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Bytes that an order leaves, by how long and by where they are."""
    found: dict[str, dict[str, int]] = {}
    for what, size in sorted(left.items(), key=lambda each: -each[1]):
        if size > 0:
            found.setdefault(_stays(what), {})[what] = size
    return found


def _stays(what: str) -> str:
    """How long rows of a table or records of a topic stay."""
    if what == _INBOX:
        return f"{ServiceSettings.model_fields['inbox_retention_days'].default} days"
    if what.endswith(_EMPTIED):
        return "until sent; pages are used again"
    topic = next((topic for topic in TOPICS if topic.name == what), None)
    if topic is None:
        return "for good"
    return f"{topic.retention.days} days" if topic.retention else "until compacted"


def _fill(ours: Ours, first: int, last: int) -> None:
    """Finished orders of one piece each, in all tables, with these numbers."""
    for service, statements in _FILL.items():
        dsn = getattr(ours.databases, service)
        numbers = {":first": str(first), ":last": str(last)}
        for text in statements:
            for name, number in numbers.items():
                text = text.replace(name, number)
            database.execute(dsn, text)
        database.execute(dsn, "VACUUM ANALYZE")


# The same ids everywhere, without a table of them: the number of the order in a UUID of version 7
# whose time is 2023, before all others.
_ID = "('018bcfe5-6800-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid"
_NUMBERS = "generate_series(:first, :last) AS number"
_LINE = "json_build_array(json_build_object('product_id', {}, 'quantity', 1{}))"
_SOME = "lpad(to_hex(number % 1000 + 1), 32, '0')::uuid"
_PICKED = f"""
    (SELECT id, name, price, row_number() OVER (ORDER BY id) - 1 AS place,
            count(*) OVER () AS all_of_them
       FROM products) AS picked
  JOIN {_NUMBERS} ON number % all_of_them = place
"""
_FILL = {
    "order": (
        f"""
        INSERT INTO orders (id, customer_id, saga_state, status, payment_status, lines, items,
                            total, currency, payment_intent_id, updated_by, version, expires_at,
                            created_at, updated_at)
        SELECT {_ID}, 'bench', 'confirmed', 'confirmed', 'paid',
               {_LINE.format(_SOME, "")},
               {_LINE.format(_SOME, ", 'name', 'Print', 'price', 12000")},
               12000, 'zar', 'pi_' || number, 'bench', 3, now(), now(), now()
          FROM {_NUMBERS}
        """,
    ),
    "inventory": (
        f"""
        INSERT INTO reservation_orders (order_id, state, currency)
        SELECT {_ID}, 'reserved', 'zar' FROM {_NUMBERS}
        """,
        f"""
        INSERT INTO reservations (order_id, line, product_id, name, quantity, price, state)
        SELECT {_ID}, 0, picked.id, name, 1, price, 'committed' FROM {_PICKED}
        """,
        f"""
        INSERT INTO stock_movements (product_id, order_id, action, quantity, reason, changed_by)
        SELECT picked.id, {_ID}, 'reserved', -1, 'order', 'bench' FROM {_PICKED}
        """,
        f"""
        UPDATE products
           SET stock_quantity = stock_quantity - taken, movements_total = movements_total - taken,
               version = version + 1, updated_at = now()
          FROM (SELECT picked.id AS product_id, count(*) AS taken FROM {_PICKED} GROUP BY 1)
               AS sold
         WHERE products.id = sold.product_id
        """,
    ),
    "payment": (
        f"""
        INSERT INTO payments (order_id, customer_id, amount, currency, payment_intent_id, status,
                              intent_status, amount_received, version, created_at, updated_at)
        SELECT {_ID}, 'bench', 12000, 'zar', 'pi_' || number, 'succeeded', 'succeeded', 12000, 2,
               now(), now()
          FROM {_NUMBERS}
        """,
    ),
}
