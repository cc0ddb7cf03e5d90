"""What must hold of a whole system that has come to rest, whatever was done to it.

Reads every service's database, the audit topic and the Stripe stand-in's ledger, and compares them
with each other and with what the caller was told. Numbers as in the list of invariants: I1 stock
adds up, I2 is never negative, I3 is reserved and restored once, I4 money and orders agree, I5
nothing waits, I6 the audit trail has no gap, I8 ends stay ends, I9 what was acknowledged exists.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer

from contracts.audit import OrderAudited
from contracts.topics import AUDIT_ORDER
from deploy.local.stack import LocalStack

WAITING = (
    "reserving",
    "requesting_payment",
    "cancelling_payment",
    "withdrawing",
    "returning_money",
    "restoring",
    "refunding",
    "refunding_only",
    "restocking",
    "returning_late",
)
"""Saga states in which somebody owes an answer."""
PAID = ("confirmed", "processing", "shipped", "delivered")


async def rows(stack: LocalStack, service: str, query: str, *values: Any) -> list[asyncpg.Record]:
    db = await asyncpg.connect(stack.postgres[service])
    try:
        return await db.fetch(query, *values)
    finally:
        await db.close()


async def come_to_rest(stack: LocalStack, *, seconds: float = 60) -> None:
    """I5: after a while no order waits for an answer and every outbox is empty."""
    deadline = time.monotonic() + seconds
    while waiting := await _waiting(stack):
        assert time.monotonic() < deadline, f"still waiting: {waiting}"
        await asyncio.sleep(0.2)
    for service in stack.postgres:
        parked = await rows(stack, service, "SELECT key, reason FROM parked_messages")
        assert not parked, f"{service} parked {[tuple(row) for row in parked]}"


async def _waiting(stack: LocalStack) -> list[tuple[str, int]]:
    found = [
        (f"order {row['saga_state']}", row["count"])
        for row in await rows(
            stack,
            "order",
            "SELECT saga_state, count(*) FROM orders WHERE saga_state = ANY($1) GROUP BY 1",
            WAITING,
        )
    ]
    for service in stack.postgres:
        (row,) = await rows(stack, service, "SELECT count(*) FROM outbox")
        if row["count"]:
            found.append((f"outbox of {service}", row["count"]))
    (row,) = await rows(stack, "payment", "SELECT count(*) FROM stripe_calls")
    if row["count"]:
        found.append(("Stripe calls", row["count"]))
    return found


async def check_invariants(stack: LocalStack, acknowledged: Collection[str]) -> None:
    """All of them; `acknowledged` are the ids of orders that somebody was told of."""
    await come_to_rest(stack)
    await _stock_adds_up(stack)
    orders = {
        str(row["id"]): row
        for row in await rows(
            stack, "order", "SELECT id, status, payment_status, saga_state, version FROM orders"
        )
    }
    missing = set(acknowledged) - orders.keys()
    assert not missing, f"I9: acknowledged, but not there: {missing}"
    await _stock_and_orders_agree(stack, orders)
    _money_and_orders_agree(await ledger(stack), orders)
    await _audit_is_complete(stack, orders)


async def _stock_adds_up(stack: LocalStack) -> None:
    """I1, I2: the stock is what came in less what is held and sold, and what the ledger says."""
    wrong = await rows(
        stack,
        "inventory",
        """
        SELECT id, stock_quantity, movements_total
          FROM products
         WHERE stock_quantity < 0
            OR stock_quantity <> movements_total
            OR movements_total <> coalesce((SELECT sum(quantity) FROM stock_movements
                                             WHERE product_id = products.id), 0)
            OR movements_total <> coalesce((SELECT sum(quantity) FROM stock_movements
                                             WHERE product_id = products.id
                                               AND order_id IS NULL), 0)
                                - coalesce((SELECT sum(quantity) FROM reservations
                                             WHERE product_id = products.id
                                               AND state <> 'restored'), 0)
        """,
    )
    assert not wrong, f"I1: stock does not add up: {[tuple(row) for row in wrong]}"


async def _stock_and_orders_agree(stack: LocalStack, orders: dict[str, asyncpg.Record]) -> None:
    """I3: what is paid is sold, what is undone is restored, once."""
    reserved = await rows(
        stack, "inventory", "SELECT order_id, state FROM reservations ORDER BY order_id"
    )
    for row in reserved:
        order = orders[str(row["order_id"])]
        if order["status"] in PAID:
            assert row["state"] == "committed", f"I3: {dict(order)} but stock is {row['state']}"
        elif order["status"] == "cancelled":
            assert row["state"] == "restored", f"I3: {dict(order)} but stock is {row['state']}"
    twice = await rows(
        stack,
        "inventory",
        """
        SELECT order_id, product_id, action FROM stock_movements WHERE order_id IS NOT NULL
         GROUP BY 1, 2, 3 HAVING count(*) > 1
        """,
    )
    assert not twice, f"I3: moved twice: {[tuple(row) for row in twice]}"


async def ledger(stack: LocalStack) -> dict[str, list[dict[str, Any]]]:
    """What Stripe knows of each order's payment intents."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        after: dict[str, str] = {}
        while True:
            answer = await client.get(f"{stack.stripe}/_control/ledger", params=after)
            page = answer.raise_for_status().json()
            for entry in page["data"]:
                found[entry["order_id"]].append(entry)
            if not page["has_more"]:
                return found
            after = {"starting_after": page["data"][-1]["id"]}


def _money_and_orders_agree(
    intents: dict[str, list[dict[str, Any]]], orders: dict[str, asyncpg.Record]
) -> None:
    """I4, I8: one intent and at most one charge per order; kept exactly where the order is paid."""
    for order_id, order in orders.items():
        entries = intents.get(order_id, [])
        assert len(entries) <= 1, f"I4: order {order_id} has {len(entries)} intents"
        kept = sum(entry["amount_received"] - entry["amount_refunded"] for entry in entries)
        charges = sum(entry["successful_charges"] for entry in entries)
        assert charges <= 1, f"I4: order {order_id} was charged {charges} times"
        assert (kept > 0) == (order["status"] in PAID), f"I4: {dict(order)}, {kept} kept"
        if order["status"] == "cancelled" and entries:
            done = entries[0]["status"] == "canceled" or entries[0]["amount_refunded"]
            assert done, f"I8: {dict(order)} can still be paid: {entries[0]['status']}"


async def _audit_is_complete(stack: LocalStack, orders: dict[str, asyncpg.Record]) -> None:
    """I6: each order's versions 1..n are on the audit topic, and the last one is its row."""
    trail: dict[str, dict[int, OrderAudited]] = defaultdict(dict)
    consumer = AIOKafkaConsumer(
        AUDIT_ORDER.name, bootstrap_servers=stack.kafka, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    audited = OrderAudited.model_validate_json(record.value)
                    trail[str(audited.order_id)][audited.version] = audited
    finally:
        await consumer.stop()
    for order_id, order in orders.items():
        versions = trail[order_id]
        assert sorted(versions) == list(range(1, order["version"] + 1)), (
            f"I6: order {order_id} is at {order['version']}, audited {sorted(versions)}"
        )
        last = versions[order["version"]]
        told = (last.new_status, last.payment_status, last.saga_state)
        row = (order["status"], order["payment_status"], order["saga_state"])
        assert told == row, f"I6: order {order_id} is {row}, audited {told}"
