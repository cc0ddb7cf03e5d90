"""The saga through Kafka: commands in, order events out, three services as processes.

`make bench` prints orders/s, p50 and p99 from command to confirmation, and what a batch costs the
database; the last line is JSON. Payments are answered by the in-process provider, everything else
is as in production: inbox, outbox, history, audit, fsync, acks=all. Timings of shared machines are
noisy: compare figures of one run.
"""

import argparse
import asyncio
import json
import random
import re
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import uvloop
from aiokafka import AIOKafkaConsumer

from contracts.inventory import AdjustStock, PutProduct
from contracts.message import Message, new_message_id
from contracts.order import CartLine, PlaceOrder
from contracts.topics import INVENTORY_REPLIES, ORDER_EVENTS
from deploy.local.stack import LocalStack
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from services.kit.work import utc_now

HOME = Path(__file__).parents[1] / ".local" / "bench"
SERVICES = ("order", "inventory", "payment")
CONFIRMED = b'"status":"confirmed"'


def outgoing(message: Message) -> Outgoing:
    return Outgoing.of(message, source="benchmark", time=utc_now().isoformat())


class Load:
    """Places orders and notes when each is confirmed."""

    def __init__(self, publisher: Publisher, consumer: AIOKafkaConsumer, products: list[UUID]):
        self._publisher = publisher
        self._consumer = consumer
        self._products = products
        self._sent: dict[bytes, float] = {}
        self.seconds: list[float] = []
        self._progress = asyncio.Event()

    async def watch(self) -> None:
        while True:
            records = await self._consumer.getmany(timeout_ms=200)
            now = time.perf_counter()
            for batch in records.values():
                for record in batch:
                    if CONFIRMED in record.value and (sent := self._sent.pop(record.key, None)):
                        self.seconds.append(now - sent)
            self._progress.set()

    def orders(self, count: int) -> list[Outgoing]:
        made = []
        for _ in range(count):
            picked = random.sample(self._products, k=min(2, len(self._products)))
            lines = tuple(CartLine(product_id=product, quantity=1) for product in picked)
            order_id = new_message_id()
            made.append(outgoing(PlaceOrder(order_id=order_id, customer_id="bench", lines=lines)))
        return made

    async def place(self, orders: list[Outgoing]) -> None:
        now = time.perf_counter()
        self._sent.update((order.key.encode(), now) for order in orders)
        await self._publisher.publish(orders)

    async def until(self, in_flight: int, *, seconds: float = 120) -> None:
        """Wait until at most so many orders are unconfirmed."""
        async with asyncio.timeout(seconds):
            while len(self._sent) > in_flight:
                self._progress.clear()
                await self._progress.wait()

    async def closed_loop(self, count: int, window: int) -> float:
        """Orders per second with at most `window` orders in flight."""
        orders = self.orders(count)
        started = time.perf_counter()
        for at in range(0, count, 200):
            await self.until(window)
            await self.place(orders[at : at + 200])
        await self.until(0)
        return count / (time.perf_counter() - started)

    async def open_loop(self, rate: float, seconds: float) -> list[float]:
        """Seconds from command to confirmation of each order, offered at a steady rate."""
        self.seconds.clear()
        orders = self.orders(int(rate * seconds))
        started = time.perf_counter()
        sending: set[asyncio.Task[None]] = set()
        for number, order in enumerate(orders):
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            task = asyncio.create_task(self.place([order]))
            sending.add(task)
            task.add_done_callback(sending.discard)
        await self.until(0)
        return sorted(self.seconds)


async def set_up_products(publisher: Publisher, kafka: str, count: int) -> list[UUID]:
    """Products with stock for everybody; returns once inventory has them."""
    products = [new_message_id() for _ in range(count)]
    by = {"requested_by": "benchmark"}
    async with consumer_of(kafka, INVENTORY_REPLIES.name) as replies:
        await publisher.publish(
            [
                outgoing(PutProduct(product_id=p, name="Print", price=12000, currency="zar", **by))
                for p in products
            ]
        )
        await publisher.publish(
            [
                outgoing(AdjustStock(product_id=p, delta=100_000_000, reason="opening", **by))
                for p in products
            ]
        )
        async with asyncio.timeout(60):
            answered = 0
            while answered < 2 * count:
                records = await replies.getmany(timeout_ms=200)
                answered += sum(map(len, records.values()))
    return products


@asynccontextmanager
async def consumer_of(kafka: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        auto_offset_reset="latest",
        fetch_max_wait_ms=10,
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    try:
        for partition in consumer.assignment():
            await consumer.position(partition)  # settle on the end before anything is sent
        yield consumer
    finally:
        await consumer.stop()


def counters(stack: LocalStack) -> dict[str, dict[str, float]]:
    """Batches, records, statements and CPU seconds so far, by service."""
    names = {
        "batches": "orderflow_batch_records_count",
        "records": "orderflow_batch_records_sum",
        "statements": "orderflow_database_statements_total",
        "batch": "orderflow_batch_seconds_sum",
        "publish": "orderflow_publish_seconds_sum",
        "cpu": "process_cpu_seconds_total",
    }
    found = {}
    for service in SERVICES:
        text = httpx.get(f"{stack.url(service)}/metrics", trust_env=False).text
        values = dict(re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE))
        found[service] = {key: float(values.get(name, 0)) for key, name in names.items()}
    return found


def server_cpu(stack: LocalStack) -> dict[str, float]:
    """CPU seconds so far of Kafka, of PostgreSQL with its children, and of this load."""

    def seconds(process: psutil.Process) -> float:
        used = process.cpu_times()
        return float(used.user + used.system)

    postgres = psutil.Process(stack.process("postgres").pid)
    return {
        "kafka": seconds(psutil.Process(stack.process("kafka").pid)),
        "postgres": sum(seconds(p) for p in (postgres, *postgres.children())),
        "load": seconds(psutil.Process()),
    }


def report(
    before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], orders: int
) -> dict[str, dict[str, float]]:
    costs = {}
    for service in SERVICES:
        spent = {key: after[service][key] - before[service][key] for key in after[service]}
        batches = max(1.0, spent["batches"])
        costs[service] = {
            "records_per_batch": round(spent["records"] / batches, 1),
            "statements_per_batch": round(spent["statements"] / batches, 1),
            "ms_per_batch": round(spent["batch"] / batches * 1000, 1),
            "publish_ms_per_batch": round(spent["publish"] / batches * 1000, 1),
            "cpu_us_per_order": round(spent["cpu"] / orders * 1e6, 1),
        }
    print("\n" + f"{'':<22}" + "".join(f"{service:>12}" for service in SERVICES))
    for figure in costs[SERVICES[0]]:
        values = "".join(f"{costs[service][figure]:>12}" for service in SERVICES)
        print(f"{figure:<22}{values}")
    print("(statements include BEGIN, COMMIT, timers and outbox housekeeping; one round trip each)")
    return costs


async def run(stack: LocalStack, arguments: argparse.Namespace) -> dict[str, object]:
    publisher = Publisher(stack.kafka, "benchmark")
    products = await set_up_products(publisher, stack.kafka, arguments.products)
    async with consumer_of(stack.kafka, ORDER_EVENTS.name) as events:
        load = Load(publisher, events, products)
        watching = asyncio.create_task(load.watch())
        await load.closed_loop(1000, arguments.window)  # warm: plans, caches, JIT
        before, cpu_before = counters(stack), server_cpu(stack)
        rate = await load.closed_loop(arguments.orders, arguments.window)
        cpu = server_cpu(stack)
        costs = report(before, counters(stack), arguments.orders)
        servers = {
            name: round((cpu[name] - cpu_before[name]) / arguments.orders * 1e6) for name in cpu
        }
        print("CPU us/order of the others:", servers)
        print(f"\n{rate:,.0f} orders/s with {arguments.window} in flight")
        seconds = await load.open_loop(arguments.rate, arguments.seconds)
        p50, p99 = (statistics.quantiles(seconds, n=100)[i] * 1000 for i in (49, 98))
        print(f"at {arguments.rate:g} orders/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms\n")
        watching.cancel()
    await publisher.stop()
    return {
        "orders_per_s": round(rate),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "offered_per_s": arguments.rate,
        "orders": arguments.orders,
        "products": arguments.products,
        "services": costs,
        "servers_cpu_us_per_order": servers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=40_000)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--window", type=int, default=8000, help="orders in flight")
    parser.add_argument("--rate", type=float, default=50.0, help="orders/s of the latency part")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the latency part")
    arguments = parser.parse_args()
    stack = LocalStack(HOME, environment={"PAYMENT_PROVIDER": "instant"})
    stack.clean()
    try:
        stack.up_infrastructure()
        for service in SERVICES:
            stack.start(service)
        result = uvloop.run(run(stack, arguments))
    finally:
        stack.down()  # logs stay until the next run
    print(json.dumps(result))


if __name__ == "__main__":
    main()
