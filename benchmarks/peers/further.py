"""What is measured of ours alone, after the rounds: queued orders, the HTTP road, growth.

Each works on the databases that the rounds filled; the books are checked at the end of each.
"""

from typing import Any

import aiohttp
import uvloop

from benchmarks import http
from benchmarks.peers import database
from benchmarks.peers.contenders import MANY, Ours
from deploy.local.stack import LocalStack

IN_FLIGHT = 64
"""HTTP orders at once."""
RATE = 100
"""HTTP orders per second of the open loop."""
_SERVERS = ("stripe", "inventory", "payment", "order", "gateway")


def drained(ours: Ours, count: int) -> dict[str, Any]:
    """Orders that wait on the topic while no service runs: how long until all are confirmed."""
    if not ours.products:
        ours.start()
        ours.stop()
    try:
        seconds = ours.load.drain(ours.products, count, ours.start)
    finally:
        ours.stop()
    database.check(ours.databases)
    return {"orders": count, "seconds": round(seconds, 1), "orders_per_s": round(count / seconds)}


def over_http(stack: LocalStack, orders: int, seconds: float) -> dict[str, Any]:
    """POST /v1/orders until the stock is reserved and the intent exists at the Stripe stand-in:
    `IN_FLIGHT` customers at once, then `RATE` orders per second, whoever waits."""
    for name in _SERVERS:
        stack.home.port(name)  # the stand-in is told the gateway's
    started = []
    try:
        for name in _SERVERS:
            stack.start(name, env={"PAYMENT_PROVIDER": "stripe"})
            started.append(name)
        return uvloop.run(_customers(stack, orders, seconds))
    finally:
        for name in reversed(started):
            stack.stop(name)


async def _customers(stack: LocalStack, orders: int, seconds: float) -> dict[str, Any]:
    products = await http.add_products(stack, 50)
    unlimited = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=unlimited, trust_env=False) as session:
        load = http.Load(stack, session, products)
        await load.closed_loop(min(orders, 500), 16)  # warm: plans, caches, connections
        full = (await load.closed_loop(orders, IN_FLIGHT)).figures()
        steady = (await load.open_loop(RATE, seconds)).figures()
    return {"full": full, "steady": steady}


def grown(ours: Ours, orders: int, more: int) -> dict[str, Any]:
    """Orders per second before and after `more` finished orders are in the tables."""
    rates = []
    for added in (0, more):
        _fill(ours, added)
        ours.start()
        try:
            ours.run(orders // 2, MANY)  # warm
            rates.append(ours.run(orders, MANY))
        finally:
            ours.stop()
    database.check(ours.databases)
    before, after = rates
    return {
        "finished_orders": more,
        "orders_per_s_before": round(before),
        "orders_per_s_after": round(after),
        "after_over_before": round(after / before, 3),
    }


def _fill(ours: Ours, count: int) -> None:
    """Finished orders of one piece each, in all tables, as if they had been placed before."""
    if count == 0:
        return
    for service, statements in _FILL.items():
        dsn = getattr(ours.databases, service)
        values = (text.replace(":count", str(count)) for text in statements)
        database.execute(dsn, *values, "VACUUM ANALYZE")


# The same ids everywhere, without a table of them: the number of the order in a UUID of version 7
# whose time is 2023, before all others.
_ID = "('018bcfe5-6800-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid"
_NUMBERS = "generate_series(1, :count) AS number"
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


def everything(stack: LocalStack, ours: Ours, *, quick: bool) -> dict[str, Any]:
    """All of it, in turn, by name."""
    part = 40 if quick else 1
    growth = grown(ours, 20_000 // part, 1_000_000 // part)
    print(f"growth {growth}", flush=True)
    drain = drained(ours, 20_000 // part)
    print(f"drain {drain}", flush=True)
    # Last, because its orders are not paid: the check wants all of them confirmed.
    http_road = over_http(stack, 3000 // part, 20 / part)
    print(f"http {http_road}", flush=True)
    return {"growth": growth, "drain": drain, "http": http_road}
