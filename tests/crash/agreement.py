"""What customers see and were promised, compared with what the order service knows.

Beside `tests/invariants.py`, which compares orders with stock, money and audit: here are the
gateway's views and its idempotency keys, and that every paid order has its goods and its money
to the cent.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection

from deploy.local.stack import LocalStack
from tests.invariants import PAID, ledger, rows


async def views_agree(stack: LocalStack, *, seconds: float = 30) -> None:
    """The gateway shows every order at its last version, and shows no order that is not there."""
    deadline = time.monotonic() + seconds
    while different := await _different(stack):
        assert time.monotonic() < deadline, f"views differ (order, view, row): {different[:5]}"
        await asyncio.sleep(0.2)


async def _different(stack: LocalStack) -> list[tuple[str, int | None, int | None]]:
    known = await rows(stack, "order", "SELECT id, version FROM orders")
    seen = await rows(stack, "gateway", "SELECT order_id AS id, version FROM orders")
    real = {str(row["id"]): row["version"] for row in known}
    shown = {str(row["id"]): row["version"] for row in seen}
    return [
        (order, shown.get(order), real.get(order))
        for order in real.keys() | shown.keys()
        if shown.get(order) != real.get(order)
    ]


async def one_order_per_key(stack: LocalStack, customers: str, told: Collection[str]) -> None:
    """I9, P8: whoever asked was told of one order, and has no other, however often they asked.

    Each customer whose name is LIKE `customers` used one key and was told of one order of `told`.
    """
    placed = await rows(
        stack, "order", "SELECT customer_id, id FROM orders WHERE customer_id LIKE $1", customers
    )
    several = {
        name: count
        for name, count in Counter(row["customer_id"] for row in placed).items()
        if count > 1
    }
    assert not several, f"I9: one key, several orders: {several}"
    untold = {str(row["id"]) for row in placed} ^ set(told)
    assert not untold, f"I9: orders there and orders told differ in {untold}"


async def paid_orders_are_whole(stack: LocalStack) -> int:
    """I3, I4: every paid order has all of its goods and exactly its total; returns how many."""
    orders = await rows(
        stack,
        "order",
        """
        SELECT id, total, amount_refunded,
               (SELECT sum((line ->> 'quantity')::int) FROM json_array_elements(lines) AS line)
               AS pieces
          FROM orders WHERE status = ANY($1)
        """,
        PAID,
    )
    sold = {
        row["order_id"]: row["pieces"]
        for row in await rows(
            stack,
            "inventory",
            """
            SELECT order_id, sum(quantity) AS pieces
              FROM reservations WHERE state = 'committed' GROUP BY order_id
            """,
        )
    }
    money = await ledger(stack)
    for order in orders:
        assert sold.get(order["id"]) == order["pieces"], (
            f"I3: {dict(order)}: {sold.get(order['id'])}"
        )
        (intent,) = money[str(order["id"])]
        kept = intent["amount_received"] - intent["amount_refunded"]
        assert kept == order["total"] - order["amount_refunded"], f"I4: {dict(order)}: {kept} kept"
    return len(orders)
