"""The road of a customer: orders over HTTP, with calls to the Stripe stand-in.

`python -m benchmarks.http` prints what `POST /v1/orders` with `Prefer: wait` takes until the stock
is reserved and the payment intent exists: on an idle stack, and with many customers at once. Then
what one order costs each process, and the memory of the services. The last line is JSON.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import uvloop

from deploy.local.stack import LocalStack

HOME = Path(__file__).parents[1] / ".local" / "bench-http"
SERVICES = ("gateway", "order", "inventory", "payment", "stripe")
PRODUCT = {"name": "Print", "price": 12000, "currency": "zar"}


class Customers:
    def __init__(self, stack: LocalStack, session: aiohttp.ClientSession, product: str) -> None:
        self._session = session
        self._orders = f"{stack.gateway}/v1/orders"
        self._headers = {"Authorization": f"Bearer {stack.token('bench')}", "Prefer": "wait=20"}
        self._body = {
            "items": [{"product_id": product, "quantity": 1}],
            "email": "bench@example.com",
        }

    async def order(self) -> float:
        """Place one order; returns the seconds until its decision."""
        started = time.perf_counter()
        headers = self._headers | {"Idempotency-Key": str(uuid4())}
        async with self._session.post(self._orders, json=self._body, headers=headers) as answer:
            if answer.status != 201:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")
            await answer.read()
        return time.perf_counter() - started

    async def come(self, count: int, at_once: int) -> dict[str, float]:
        places = asyncio.Semaphore(at_once)

        async def one() -> float:
            async with places:
                return await self.order()

        started = time.perf_counter()
        seconds = sorted(await asyncio.gather(*(one() for _ in range(count))))
        rate = count / (time.perf_counter() - started)
        return {
            "at_once": at_once,
            "orders_per_s": round(rate, 1),
            "p50_ms": round(seconds[count // 2] * 1000, 1),
            "p99_ms": round(seconds[int(count * 0.99)] * 1000, 1),
        }


def cpu_seconds(stack: LocalStack) -> dict[str, float]:
    def used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    postgres = psutil.Process(stack.process("postgres").pid)
    single = (*SERVICES, "kafka")
    return {name: used(psutil.Process(stack.process(name).pid)) for name in single} | {
        "postgres": sum(used(p) for p in (postgres, *postgres.children())),
        "load": used(psutil.Process()),
    }


def memory_mb(stack: LocalStack) -> dict[str, int]:
    return {
        name: round(psutil.Process(stack.process(name).pid).memory_info().rss / 1e6)
        for name in SERVICES
    }


async def put_product(stack: LocalStack, session: aiohttp.ClientSession) -> str:
    product = str(uuid4())
    headers = {"Authorization": f"Bearer {stack.token('staff', 'admin')}"}
    url = f"{stack.gateway}/v1/admin/products/{product}"
    async with session.put(url, json=PRODUCT, headers=headers) as answer:
        answer.raise_for_status()
    stock = {"delta": 1_000_000, "reason": "opening stock"}
    async with session.post(f"{url}/stock", json=stock, headers=headers) as answer:
        answer.raise_for_status()
    return product


async def run(stack: LocalStack, count: int) -> dict[str, Any]:
    result: dict[str, Any] = {"memory_mb_at_rest": memory_mb(stack), "load": []}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        customers = Customers(stack, session, await put_product(stack, session))
        await customers.come(20, 1)  # warm
        for at_once in (1, 16, 64, 128):
            before = cpu_seconds(stack)
            number = count if at_once > 1 else min(count, 100)
            figures: dict[str, Any] = dict(await customers.come(number, at_once))
            after = cpu_seconds(stack)
            figures["cpu_ms_per_order"] = {
                name: round((after[name] - before[name]) / number * 1000, 2) for name in after
            }
            print(figures)
            result["load"].append(figures)
    result["memory_mb_after"] = memory_mb(stack)
    print(result["memory_mb_at_rest"], result["memory_mb_after"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=1000, help="per step")
    arguments = parser.parse_args()
    stack = LocalStack(HOME)
    stack.clean()
    try:
        stack.up()
        result = uvloop.run(run(stack, arguments.orders))
    finally:
        stack.down()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
