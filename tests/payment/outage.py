"""An outage of Stripe at the payment service's own level, with figures.

    .venv/bin/python -m tests.payment.outage --rate 50 --seconds 60 --latency-ms 300

The real workers, PostgreSQL and the Stripe stand-in over HTTP; commands come without Kafka, at a
steady rate before, during and after the outage. During it, Stripe answers 500 to every call.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Final, cast
from uuid import UUID, uuid4

import typer
from pydantic import SecretStr

from services.kit.db import open_pool
from services.kit.migrate import migrate
from services.kit.service import Service
from services.payment import stripe_api
from services.payment.charging import Charging, Connect
from services.payment.settings import PaymentSettings
from tests.payment.bench import DAY, Bench, request
from tests.stack import infrastructure
from tests.standin.process import StandinProcess, eventually, running

MIGRATIONS = Path(__file__).parents[2] / "services" / "payment" / "migrations"
NORMAL: Final = 2.0
"""Seconds from request to intent that are normal."""
ENOUGH: Final = 20
"""Orders in normal time that show that it is normal."""
LOOKS: Final = ("list_payment_intents", "search_payment_intents")


@dataclass
class Figures:
    orders: int
    """Requested during the outage."""
    calls_during: int
    failed_calls: int
    """Calls beyond one per order, from the beginning of the outage to the end of the run."""
    looks: int
    """Lists and searches among them."""
    recovered: float
    """Seconds from the end of the outage until each of its orders had its intent."""
    normal: float
    """Seconds from the end of the outage until new orders get their intent within `NORMAL`."""

    def __str__(self) -> str:
        per_order = 1 + self.failed_calls / max(self.orders, 1)
        return (
            f"{self.orders} orders during the outage, {self.calls_during} calls met it; "
            f"{per_order:.2f} calls per order, {self.looks} looks; all served "
            f"{self.recovered:.1f} s after its end, new orders as usual after {self.normal:.1f} s"
        )


class Orders:
    """Requests at a steady rate, and when each got its intent."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.requested: dict[UUID, float] = {}
        self.waits: dict[UUID, float] = {}

    async def come(self, rate: float) -> None:
        """Until cancelled. What a slow machine misses comes in the next batch."""
        began, number = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * rate) - number
            if due > 0:
                new = [uuid4() for _ in range(due)]
                self.requested |= dict.fromkeys(new, time.monotonic())
                await self._bench.hear(*(request(order_id) for order_id in new))
                number += due
            await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            open_ = [order_id for order_id in self.requested if order_id not in self.waits]
            rows = await self._bench.fetch(
                "SELECT order_id FROM payments WHERE order_id = ANY($1) AND status <> 'creating'",
                open_,
            )
            now = time.monotonic()
            self.waits |= {row["order_id"]: now - self.requested[row["order_id"]] for row in rows}
            await asyncio.sleep(0.2)


async def outage(
    bench: Bench,
    standin: StandinProcess,
    connect: Connect,
    *,
    rate: float,
    seconds: float,
    latency_ms: float,
    slots: int,
) -> Figures:
    """Run it on an empty queue; returns when new orders are served in normal time again."""
    workers = Charging(connect, bench.terms, slots=slots, key_lifetime=DAY)
    bench.on_wake = workers.wake
    orders = Orders(bench)
    tasks = [
        asyncio.create_task(workers.run(cast("Service", bench))),
        asyncio.create_task(orders.come(rate)),
        asyncio.create_task(orders.watch()),
    ]
    try:
        await _until(lambda: len(orders.waits) >= rate)
        await standin.fault("delay", delay_ms=latency_ms)
        before, began = await calls(standin), time.monotonic()
        await standin.fault("error_before")
        await asyncio.sleep(seconds)
        during, ended = await calls(standin), time.monotonic()
        await standin.control("DELETE", "/faults")
        await standin.fault("delay", delay_ms=latency_ms)
        of_outage = {order for order, at in orders.requested.items() if began <= at < ended}
        await _until(lambda: of_outage <= orders.waits.keys())
        recovered = time.monotonic() - ended
        await _until(lambda: _normal_since(orders, ended) is not None)
        normal = cast("float", _normal_since(orders, ended))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await standin.control("DELETE", "/faults")
    made = await calls(standin) - before
    return Figures(
        orders=len(of_outage),
        calls_during=(during - before).total(),
        failed_calls=made.total() - sum(at >= began for at in orders.requested.values()),
        looks=sum(made[name] for name in LOOKS),
        recovered=recovered,
        normal=normal,
    )


def _normal_since(orders: Orders, ended: float) -> float | None:
    """Seconds after the end from which on orders are served in normal time; None if not yet."""
    now = time.monotonic()
    slow = [
        at for order, at in orders.requested.items() if orders.waits.get(order, now - at) > NORMAL
    ]
    last_slow = max(slow, default=ended)
    since = sum(at > last_slow for order, at in orders.requested.items() if order in orders.waits)
    return max(0.0, last_slow - ended) if since >= ENOUGH else None


async def _until(holds: Callable[[], bool]) -> None:
    async def check() -> bool:
        return holds()

    await eventually(check, "the next step", seconds=300)


async def calls(standin: StandinProcess) -> Counter[str]:
    """Calls so far, by operation."""
    seen: dict[str, dict[str, int]] = (await standin.control("GET", "/requests"))["operations"]
    return Counter({name: sum(outcomes.values()) for name, outcomes in seen.items()})


async def measure(rate: float, seconds: float, latency_ms: float, slots: int) -> Figures:
    with infrastructure() as servers, tempfile.TemporaryDirectory() as folder:
        dsn = servers.create_database("outage")
        await migrate(dsn, MIGRATIONS)
        pool = await open_pool(dsn, size=8, application="outage")
        try:
            async with running(Path(folder) / "stripe.sqlite3") as standin:
                chosen = PaymentSettings(
                    database_url="postgresql://unused",
                    kafka_bootstrap_servers="unused:1",
                    stripe_secret_key=SecretStr("sk_test_payment"),
                    stripe_api_base=standin.url,
                )
                return await outage(
                    Bench(pool),
                    standin,
                    partial(stripe_api.connect, chosen),
                    rate=rate,
                    seconds=seconds,
                    latency_ms=latency_ms,
                    slots=slots,
                )
        finally:
            await pool.close()


def main(
    rate: Annotated[float, typer.Option(help="Requests per second.")] = 50,
    seconds: Annotated[float, typer.Option(help="How long Stripe is down.")] = 60,
    latency_ms: Annotated[float, typer.Option(help="Of every answer of Stripe.")] = 300,
    slots: Annotated[int, typer.Option(help="Calls at once (STRIPE_WORKERS).")] = 32,
) -> None:
    """Measure one outage, with the limits of the default settings."""
    print(asyncio.run(measure(rate, seconds, latency_ms, slots)))


if __name__ == "__main__":
    typer.run(main)
