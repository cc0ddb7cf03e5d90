"""The saga through Kafka: commands in, order events out, three services as processes.

`make bench` prints orders/s, p50 and p99 from command to confirmation, and what a batch costs the
database; the last line is JSON. Payments are answered by the in-process provider, everything else
is as in production: inbox, outbox, history, audit, fsync, acks=all. Timings of shared machines are
noisy: compare figures of one run.
"""

import argparse
import json
import re
import statistics
from pathlib import Path

import httpx

from benchmarks.cpu import cpu_seconds
from benchmarks.load import Load
from deploy.local.stack import LocalStack

HOME = Path(__file__).parents[1] / ".local" / "bench"
SERVICES = ("order", "inventory", "payment")


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


def run(stack: LocalStack, arguments: argparse.Namespace) -> dict[str, object]:
    load = Load(stack.kafka)
    products = load.set_up_products(arguments.products)
    load.closed_loop(products, arguments.warm, arguments.window)
    before, cpu_before = counters(stack), cpu_seconds(stack, {})
    rate = load.closed_loop(products, arguments.orders, arguments.window)
    cpu = cpu_seconds(stack, {})
    costs = report(before, counters(stack), arguments.orders)
    servers = {name: round((cpu[name] - cpu_before[name]) / arguments.orders * 1e6) for name in cpu}
    print("CPU us/order of the others:", servers)
    print(f"\n{rate:,.0f} orders/s with {arguments.window} in flight")
    seconds = load.open_loop(products, arguments.rate, arguments.seconds)
    p50, p99 = (statistics.quantiles(seconds, n=100)[i] * 1000 for i in (49, 98))
    print(f"at {arguments.rate:g} orders/s: p50 {p50:.0f} ms, p99 {p99:.0f} ms\n")
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
    parser.add_argument(
        "--warm",
        type=int,
        default=20_000,
        help="orders before the measured ones: PostgreSQL touches its buffers, Kafka compiles",
    )
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
        result = run(stack, arguments)
    finally:
        stack.down()  # logs stay until the next run
    print(json.dumps(result))


if __name__ == "__main__":
    main()
