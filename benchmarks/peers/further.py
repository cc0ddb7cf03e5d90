"""What is measured of ours alone, after the rounds: queued orders, the HTTP road, growth.

Queued orders and the HTTP road meet the databases as the rounds left them, growth has its own.
"""

from typing import Any

import aiohttp
import uvloop

from benchmarks import http
from benchmarks.peers import database, growth
from benchmarks.peers.contenders import Ours
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


def over_http(stack: LocalStack, orders: int, seconds: float, replicas: int) -> dict[str, Any]:
    """POST /v1/orders until the stock is reserved and the intent exists at the Stripe stand-in:
    `IN_FLIGHT` customers at once, then `RATE` orders per second, whoever waits. With so many
    processes of each service."""
    names = [name for service in _SERVERS for name in http.processes(service, replicas)]
    for name in names:
        stack.home.port(name)  # the stand-in is told the gateway's
    started = []
    try:
        for name in names:
            stack.start(name, env={"PAYMENT_PROVIDER": "stripe"})
            started.append(name)
        return uvloop.run(_customers(stack, orders, seconds, replicas))
    finally:
        for name in reversed(started):
            stack.stop(name)


async def _customers(
    stack: LocalStack, orders: int, seconds: float, replicas: int
) -> dict[str, Any]:
    products = await http.add_products(stack, 50)
    unlimited = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=unlimited, trust_env=False) as session:
        load = http.Load(stack, session, products, replicas)
        await load.closed_loop(min(orders, 500), 16)  # warm: plans, caches, connections
        full = (await load.closed_loop(orders, IN_FLIGHT)).figures()
        steady = (await load.open_loop(RATE, seconds)).figures()
    return {"full": full, "steady": steady}


def everything(stack: LocalStack, ours: Ours, *, quick: bool) -> dict[str, Any]:
    """All of it, in turn, by name."""
    part = 40 if quick else 1
    drain = drained(ours, 20_000 // part)
    print(f"drain {drain}", flush=True)
    http_road = {}
    for replicas in (1, 2):
        # Its orders are not paid: the books would not be in order for anyone else.
        http_road[str(replicas)] = over_http(stack, 3000 // part, 20 / part, replicas)
        print(f"http, replicas {replicas}: {http_road[str(replicas)]}", flush=True)
    sizes = [size // part for size in growth.SIZES]
    grown = growth.measured(stack, 20_000 // part, sizes)
    return {"drain": drain, "http": http_road, "growth": grown}
