"""Orders as a customer places them: through the gateway's HTTP, to the decision.

`python -m benchmarks.http` posts orders with `Prefer: wait` and measures until the answer, which
comes once the stock is reserved and the payment intent exists at the Stripe stand-in: one order at
a time, at a steady rate (open loop), and with so many in flight (closed loop). Prints orders/s,
p50 and p99 in ms, the CPU time that an order costs each process in us, and each process's resident
memory in MB; the last line is JSON. The load itself runs on the same machine and is listed with
the others. Timings of shared machines are noisy: compare figures of one run.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp
import httpx
import psutil
import uvloop

from benchmarks.cpu import cpu_seconds
from deploy.local.home import PROJECT
from deploy.local.shop import Shop
from deploy.local.stack import LocalStack

HOME = PROJECT / ".local" / "bench-http"
SERVICES = ("gateway", "order", "inventory", "payment")
WAIT_SECONDS = 20


@dataclass
class Phase:
    """What the orders of one phase met, and what they cost."""

    answers: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    duration: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def decided(self) -> int:
        """Orders whose answer was the decision; 202 means that the wait ran out."""
        return self.answers[201]

    def figures(self) -> dict[str, Any]:
        hundredths = statistics.quantiles(self.seconds, n=100)
        return {
            "orders": len(self.seconds),
            "answers": {str(status): count for status, count in self.answers.items()},
            "decided_per_s": round(self.decided / self.duration, 1),
            "p50_ms": round(hundredths[49] * 1000, 1),
            "p99_ms": round(hundredths[98] * 1000, 1),
            "cpu_us_per_order": {
                name: round(spent / len(self.seconds) * 1e6) for name, spent in self.cpu.items()
            },
        }


class Load:
    """Places orders of one piece each; the products take turns."""

    def __init__(
        self,
        stack: LocalStack,
        http: aiohttp.ClientSession,
        products: list[str],
        replicas: int = 1,
    ) -> None:
        """The gateways take turns, too; `replicas`: processes of each service."""
        self._stack = stack
        self._http = http
        self._replicas = replicas
        gateways = [stack.url(name) for name in processes("gateway", replicas)]
        self._gateways: Iterator[str] = itertools.cycle(gateways)
        self._products: Iterator[str] = itertools.cycle(products)
        self._headers = {
            "Authorization": f"Bearer {stack.token('bench')}",
            "Prefer": f"wait={WAIT_SECONDS}",
        }

    async def _one(self, phase: Phase) -> None:
        body = {
            "items": [{"product_id": next(self._products), "quantity": 1}],
            "email": "bench@example.com",
        }
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        url = f"{next(self._gateways)}/v1/orders"
        began = time.perf_counter()
        async with self._http.post(url, json=body, headers=headers) as answer:
            await answer.read()
        phase.seconds.append(time.perf_counter() - began)
        phase.answers[answer.status] += 1

    async def closed_loop(self, count: int, in_flight: int) -> Phase:
        """So many orders, always so many of them unanswered."""
        phase = Phase()
        turns = iter(range(count))

        async def customer() -> None:
            for _ in turns:
                await self._one(phase)

        before, began = self._used(), time.perf_counter()
        await asyncio.gather(*(customer() for _ in range(in_flight)))
        return self._finish(phase, before, began)

    async def open_loop(self, rate: float, seconds: float) -> Phase:
        """Orders at a steady rate, whether or not the earlier ones are answered."""
        phase = Phase()
        before, began = self._used(), time.perf_counter()
        async with asyncio.TaskGroup() as orders:
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
                orders.create_task(self._one(phase))
        return self._finish(phase, before, began)

    def _finish(self, phase: Phase, before: dict[str, float], began: float) -> Phase:
        phase.duration = time.perf_counter() - began
        after = self._used()
        phase.cpu = {name: after[name] - before[name] for name in after}
        return phase

    def _used(self) -> dict[str, float]:
        """CPU seconds so far, by service and server."""
        pids = {
            service: [
                pid
                for name in processes(service, self._replicas)
                if (pid := self._stack.process(name).pid) is not None
            ]
            for service in (*SERVICES, "stripe")
        }
        return cpu_seconds(self._stack, pids)


def processes(service: str, replicas: int) -> list[str]:
    """The names of a service's processes; there is only ever one stand-in."""
    several = range(2, replicas + 1) if service in SERVICES else ()
    return [service, *(f"{service}-{number}" for number in several)]


def memory_mb(stack: LocalStack) -> dict[str, int]:
    """Resident memory of the processes that do not share theirs."""
    return {
        name: round(psutil.Process(stack.process(name).pid).memory_info().rss / 2**20)
        for name in (*SERVICES, "stripe", "kafka")
    }


async def add_products(stack: LocalStack, count: int) -> list[str]:
    """Products with stock for everybody, in the catalogue."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        staff = Shop(
            client,
            gateway=stack.gateway,
            stripe=stack.stripe,
            token=stack.token("bench", "admin"),
        )
        opening = {"price": 12000, "stock": 1_000_000}
        return [await staff.add_product(f"Print {number}", **opening) for number in range(count)]


def show(title: str, figures: dict[str, Any]) -> None:
    print(f"\n{title}")
    print(
        f"  {figures['decided_per_s']:,} orders/s decided, p50 {figures['p50_ms']} ms, "
        f"p99 {figures['p99_ms']} ms, answers {figures['answers']}"
    )
    print("  CPU us/order", figures["cpu_us_per_order"])


async def run(stack: LocalStack, arguments: argparse.Namespace) -> dict[str, Any]:
    products = await add_products(stack, arguments.products)
    at_rest = memory_mb(stack)
    unlimited = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(connector=unlimited, trust_env=False) as http:
        load = Load(stack, http, products)
        await load.closed_loop(500, 16)  # warm: plans, caches, connections
        alone = (await load.closed_loop(arguments.alone, 1)).figures()
        show("one order at a time", alone)
        steady = (await load.open_loop(arguments.rate, arguments.seconds)).figures()
        show(f"{arguments.rate:g} orders/s offered for {arguments.seconds:g} s", steady)
        full = (await load.closed_loop(arguments.orders, arguments.in_flight)).figures()
        show(f"{arguments.in_flight} orders in flight", full)
    memory = {"at_rest": at_rest, "after_load": memory_mb(stack)}
    print("\nmemory in MB", memory, "\n")
    return {
        "alone": alone,
        "steady": {"offered_per_s": arguments.rate, **steady},
        "full": {"in_flight": arguments.in_flight, **full},
        "memory_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=50)
    parser.add_argument("--alone", type=int, default=200, help="orders placed one at a time")
    parser.add_argument("--rate", type=float, default=100.0, help="orders/s of the open loop")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the open loop")
    parser.add_argument("--orders", type=int, default=5000, help="orders of the closed loop")
    parser.add_argument("--in-flight", type=int, default=64, help="of the closed loop")
    arguments = parser.parse_args()
    stack = LocalStack(HOME, only=SERVICES)
    stack.clean()
    try:
        stack.up()
        result = uvloop.run(run(stack, arguments))
    finally:
        stack.down()  # logs stay until the next run
    print(json.dumps(result))


if __name__ == "__main__":
    main()
