"""`make bench-peers`: ours and its peers side by side, in one run, on one PostgreSQL and one Kafka.

Writes benchmarks/results.json (every round's numbers) and benchmarks/RESULTS.md with its plots.
Temporal is left out: its server is a program of its own, which no Python package brings.
Timings of a shared machine are noisy; the contenders take turns so that noise meets all of them.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil

from benchmarks.peers import contenders, figures, further, limits, report, turns
from benchmarks.peers.contenders import Contender
from deploy.create_topics import create_topics
from deploy.local.environment import bring_up_to_date, python_of
from deploy.local.home import PROJECT
from deploy.local.stack import LocalStack

HERE = Path(__file__).parent
HOME = PROJECT / ".local" / "bench-peers"


def line_up(stack: LocalStack, python: Path, clients: int) -> dict[str, Contender]:
    """All contenders by name, in the order of their turns."""
    products: list[UUID] = []
    return {
        "ours": contenders.Ours(stack, products, batch_size=None, window=8000),
        "monolith": contenders.Monolith(stack, clients=clients),
        "dbos": contenders.DbosTransact(stack, python, processes=2, threads=8),
        "faststream_outbox": contenders.FaststreamOutbox(stack, python, window=1000),
        "ours_one_at_a_time": contenders.Ours(stack, products, batch_size=1, window=1000),
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.system(),
        "python": f"{platform.python_version()} ({platform.python_compiler()})",
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def commit() -> str:
    """The checkout's commit, with a + if files differ from it."""
    named = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    return subprocess.run(named, cwd=PROJECT, capture_output=True, text=True).stdout.strip()


def run(stack: LocalStack, arguments: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and then what is measured of ours alone."""
    sizes = turns.FULL.quick() if arguments.quick else turns.FULL
    asyncio.run(create_topics(stack.kafka, [limits.TOPIC]))
    dsn = limits.prepare(stack)
    everybody = line_up(stack, python_of(report.ENVIRONMENT), sizes.clients)
    chosen = {name: everybody[name] for name in arguments.only or everybody}
    rounds = []
    for number in range(1, arguments.rounds + 1):
        print(f"\nround {number}", flush=True)
        one = {
            name: turns.turn(stack, name, contender, sizes) for name, contender in chosen.items()
        }
        if "ours" in one:
            one["limits"] = turns.measure_limits(stack, dsn, sizes, one["ours"])
            print(f"limits {one['limits']}", flush=True)
        rounds.append(one)
    found: dict[str, Any] = {"rounds": rounds}
    ours = chosen.get("ours")
    if arguments.further and isinstance(ours, contenders.Ours):
        found["further"] = further.everything(stack, ours, quick=arguments.quick)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these contenders only")
    parser.add_argument(
        "--further",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="growth, queued orders and the HTTP road, after the rounds",
    )
    parser.add_argument("--results", type=Path, help="where the numbers go")
    arguments = parser.parse_args()
    # A quick run leaves the real results alone.
    path = arguments.results or (HOME / "results.json" if arguments.quick else report.RESULTS)
    bring_up_to_date(report.ENVIRONMENT, HERE / "requirements.lock")
    stack = LocalStack(HOME, environment={"PAYMENT_PROVIDER": "instant"})
    stack.clean()
    about = {"machine": machine(), "commit": commit(), "quick": arguments.quick}
    began = datetime.now(UTC)
    try:
        stack.up_infrastructure()
        found = run(stack, arguments)
    finally:
        stack.down()  # logs stay until the next run
    ended = datetime.now(UTC)
    about |= {"began": began.isoformat(timespec="seconds"), "seconds": (ended - began).seconds}
    named = figures.of_rounds(found["rounds"])
    results = about | {"figures": named | figures.of_further(found.get("further", {}))} | found
    path.write_text(json.dumps(results, indent=1) + "\n")
    report.write(path)
    print(json.dumps(results["figures"], indent=1))


if __name__ == "__main__":
    main()
