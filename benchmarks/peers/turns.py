"""One turn of a contender, and the rounds in which they take turns: A B C, A B C, A B C.

A turn starts the contender, warms it up (counting SQL statements), measures both loads, and of
ours the latencies too; then it stops it and checks its books.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.cpu import cpu_seconds
from benchmarks.peers import costs, database, limits
from benchmarks.peers.contenders import MANY, Contender, Ours
from deploy.local.stack import LocalStack

LOADS = {"even": MANY, "hot": 1}
"""Products by the name of the load."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Orders to warm up with and to measure with, by contender; seconds of each open loop."""

    warm: Mapping[str, int]
    orders: Mapping[str, int]
    rates: tuple[int, ...]
    seconds: float
    clients: int
    """Connections of the monolith."""
    transactions: int
    """Commits of each client of the limit."""
    records: int
    round_trips: int

    def quick(self) -> "Sizes":
        """A run of a minute or two, to see that everything works: its figures say nothing."""
        fewer = {name: max(50, count // 40) for name, count in self.orders.items()}
        return Sizes(
            warm=dict.fromkeys(fewer, 100),
            orders=fewer,
            rates=self.rates,
            seconds=1,
            clients=self.clients,
            transactions=100,
            records=2000,
            round_trips=20,
        )


FULL = Sizes(
    warm={
        "ours": 10_000,
        "monolith": 4000,
        "dbos": 200,
        "faststream_outbox": 500,
        "ours_one_at_a_time": 500,
    },
    orders={
        "ours": 30_000,
        "monolith": 12_000,
        "dbos": 500,
        "faststream_outbox": 1000,
        "ours_one_at_a_time": 1000,
    },
    rates=(50, 300),
    seconds=10,
    clients=16,
    transactions=600,
    records=200_000,
    round_trips=200,
)


def turn(stack: LocalStack, name: str, contender: Contender, sizes: Sizes) -> dict[str, Any]:
    """One contender's numbers of this round."""
    found: dict[str, Any] = {}
    try:
        contender.start()
        with database.counting_statements(stack) as statements:
            contender.run(sizes.warm[name], MANY)
            found["statements_per_order"] = round(statements() / sizes.warm[name], 2)
        for load, products in LOADS.items():
            found[load] = _measured(stack, contender, sizes.orders[name], products)
            print(f"{name:<20} {load:<5} {found[load]['orders_per_s']:>9,.0f} orders/s", flush=True)
        if isinstance(contender, Ours) and name == "ours":
            found["latency"] = {str(rate): _latency(contender, rate, sizes) for rate in sizes.rates}
            print(f"{name:<20} {found['latency']}", flush=True)
    finally:
        contender.stop()
    found["orders_checked"] = database.check(contender.databases)
    return found


def _measured(
    stack: LocalStack, contender: Contender, orders: int, products: int
) -> dict[str, Any]:
    cpu, log = cpu_seconds(stack, contender.pids()), database.log_position(stack)
    records, size = costs.kafka_log(stack)
    rate = contender.run(orders, products)
    spent = costs.microseconds(cpu, cpu_seconds(stack, contender.pids()), orders)
    more_records, more = costs.kafka_log(stack)
    return {
        "orders": orders,
        "orders_per_s": round(rate, 1),
        "cpu_us_per_order": spent,
        "wal_bytes_per_order": round((database.log_position(stack) - log) / orders),
        "kafka_records_per_order": round((more_records - records) / orders, 2),
        "kafka_bytes_per_order": round((more - size) / orders),
    }


def _latency(ours: Ours, rate: int, sizes: Sizes) -> dict[str, float]:
    seconds = ours.load.open_loop(ours.products, rate, sizes.seconds)
    hundredths = statistics.quantiles(seconds, n=100)
    return {
        "p50_ms": round(hundredths[49] * 1000, 2),
        "p99_ms": round(hundredths[98] * 1000, 2),
    }


def measure_limits(stack: LocalStack, dsn: str, sizes: Sizes, ours: Mapping[str, Any]) -> Any:
    """What the servers could do, with records of the size that ours had in this round."""
    even = ours["even"]
    size = round(even["kafka_bytes_per_order"] / even["kafka_records_per_order"])
    produced = limits.produced_per_second(stack.kafka, records=sizes.records, size=size)
    alone = limits.commits_per_second(dsn, clients=1, transactions=sizes.transactions)
    together = limits.commits_per_second(
        dsn, clients=sizes.clients, transactions=sizes.transactions
    )
    trip = limits.round_trip_seconds(stack.kafka, times=sizes.round_trips, size=size)
    return {
        "commits_per_s": round(together),
        "commit_ms": round(1000 / alone, 3),
        "kafka_records_per_s": round(produced),
        "kafka_record_bytes": size,
        "kafka_orders_per_s": round(produced / even["kafka_records_per_order"]),
        "kafka_round_trip_ms": round(trip * 1000, 3),
    }
