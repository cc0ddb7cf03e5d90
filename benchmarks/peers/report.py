"""RESULTS.md and its plots, made from results.json and nothing else.

`python -m benchmarks.peers.report` writes them again.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.figures import TARGETS, spread
from benchmarks.peers.further import IN_FLIGHT, RATE
from deploy.local.environment import python_of
from deploy.local.home import PROJECT

RESULTS = PROJECT / "benchmarks" / "results.json"
ENVIRONMENT = PROJECT / ".local" / "peers-venv"

WHO: Mapping[str, str] = {
    "ours": "ours",
    "monolith": "one database, two transactions, by pgbench",
    "dbos": "DBOS Transact",
    "faststream_outbox": "FastStream with faststream-outbox",
    "ours_one_at_a_time": "ours with BATCH_SIZE=1",
}

METHOD = """\
Everybody works on the same PostgreSQL (fsync, synchronous commit) and the same Kafka (acks=all),
one after the other, for as many rounds; each value is the median of the rounds, with the least and
the greatest. An order is for one piece of one product: *even* spreads them over 1,000 products,
*hot* wants one and the same. All write the same tables with the same constraints and triggers, and
after each turn all orders must be confirmed and paid, and the stock, the reservations, the
movements and the payments must add up, or the run fails.

- **ours**: three services as processes, 8,000 orders in flight. Inbox, outbox, history, audit and
  the catalogue are part of it; payments succeed inside the payment service.
- **monolith**: the least that a program with one database can do, without a language of its own:
  `pgbench`, prepared statements, 16 connections. No messages, no audit.
- **DBOS Transact**: a workflow of four transactions, in two processes of eight threads.
- **faststream-outbox**: three services, a message at a time per partition, the outbox relayed to
  Kafka with its documented levers for throughput. No audit.
- **Temporal** is left out: its server is a program of its own, which no Python package brings.

Limits are of the same run: commits of one row by pgbench with 16 connections, and records of the
size that ours had, by librdkafka. Statements are counted while warming up (logging them costs
time), BEGIN and COMMIT included.
"""


def text(results: Mapping[str, Any], plots: Sequence[str]) -> str:
    """The whole page."""
    return "\n".join(_lines(results, plots)) + "\n"


def _lines(results: Mapping[str, Any], plots: Sequence[str]) -> Iterator[str]:
    machine, rounds = results["machine"], results["rounds"]
    yield "# Ours and its peers, side by side"
    yield ""
    yield "Made by `make bench-peers` from [results.json](results.json); not edited by hand."
    if results["quick"]:
        yield ""
        yield "**A quick run, to see that it works: its figures say nothing.**"
    yield ""
    yield (
        f"{results['began']}, commit `{results['commit']}`, {len(rounds)} rounds in "
        f"{results['seconds']} s. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, {machine['system']}, Python {machine['python']}; load "
        f"average before: {', '.join(map(str, machine['load_before']))}."
    )
    yield ""
    yield METHOD
    yield from _figures(results["figures"])
    for plot in plots:
        yield f"![{Path(plot).stem}]({plot})"
        yield ""
    yield from _rates(rounds)
    yield from _costs(rounds)
    yield from _latency(rounds)
    yield from _limits(rounds)
    if further := results.get("further"):
        yield from _further(further)


def _figures(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield "| figure | median | least to greatest | target | met | what it is |"
    yield "| --- | ---: | ---: | ---: | --- | --- |"
    for name, target in TARGETS.items():
        if (found := figures.get(name)) is None:
            continue
        sign = "≤" if target.at_most else "≥"
        met = "yes" if found["met"] else "**no**"
        yield (
            f"| `{name}` | {found['median']:g} | {found['least']:g} to {found['greatest']:g} "
            f"| {sign} {target.value:g} | {met} | {target.meaning} |"
        )
    yield ""


def _rates(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Orders per second"
    yield ""
    yield "| | even | hot |"
    yield "| --- | ---: | ---: |"
    for name in _present(rounds):
        cells = [
            _cell([one[name][load]["orders_per_s"] for one in rounds]) for load in ("even", "hot")
        ]
        yield f"| {WHO[name]} | {' | '.join(cells)} |"
    yield ""


def _costs(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## What an order costs (even)"
    yield ""
    yield "| | SQL statements | log bytes of PostgreSQL | records and bytes of Kafka | CPU us |"
    yield "| --- | ---: | ---: | ---: | --- |"

    def median(name: str, what: str) -> float:
        return spread([one[name]["even"][what] for one in rounds])["median"]

    for name in _present(rounds):
        statements = spread([one[name]["statements_per_order"] for one in rounds])["median"]
        used = [one[name]["even"]["cpu_us_per_order"] for one in rounds]
        cpu = {process: spread([each[process] for each in used])["median"] for process in used[0]}
        listed = ", ".join(f"{process} {value:,.0f}" for process, value in cpu.items())
        yield (
            f"| {WHO[name]} | {statements:g} | {median(name, 'wal_bytes_per_order'):,.0f} "
            f"| {median(name, 'kafka_records_per_order'):g}, "
            f"{median(name, 'kafka_bytes_per_order'):,.0f} "
            f"| {listed}; together {sum(cpu.values()):,.0f} |"
        )
    yield ""


def _latency(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    measured = [one["ours"]["latency"] for one in rounds if "ours" in one]
    if not measured:
        return
    yield "## From command to confirmation (ours, open loop)"
    yield ""
    yield "| orders/s offered | p50 ms | p99 ms |"
    yield "| ---: | ---: | ---: |"
    for rate in measured[0]:
        cells = [_cell([each[rate][what] for each in measured]) for what in ("p50_ms", "p99_ms")]
        yield f"| {rate} | {' | '.join(cells)} |"
    yield ""


def _limits(rounds: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    measured = [one["limits"] for one in rounds if "limits" in one]
    if not measured:
        return
    yield "## Limits of the servers"
    yield ""
    yield "| | median (least to greatest) |"
    yield "| --- | ---: |"
    for name in measured[0]:
        yield f"| `{name}` | {_cell([each[name] for each in measured])} |"


def _further(found: Mapping[str, Any]) -> Iterator[str]:
    drain = found["drain"]
    yield ""
    yield "## Ours alone, measured once"
    yield ""
    yield (
        f"- **Queued orders**: {drain['orders']:,} that waited on the topic were confirmed "
        f"{drain['seconds']} s after the services were ready ({drain['orders_per_s']:,} orders/s)."
    )
    yield (
        "- **HTTP**, `POST /v1/orders` to the decision, with calls to the Stripe stand-in, "
        f"{IN_FLIGHT} customers at once, and then {RATE} orders/s whoever waits:"
    )
    yield ""
    yield "| processes of each service | orders/s | p50, p99 ms | at 100/s p50, p99 ms | answers |"
    yield "| ---: | ---: | ---: | ---: | --- |"
    for replicas, road in found["http"].items():
        full, steady = road["full"], road["steady"]
        yield (
            f"| {replicas} | {full['decided_per_s']:,} | {full['p50_ms']:,}, {full['p99_ms']:,} | "
            f"{steady['p50_ms']:,}, {steady['p99_ms']:,} | {full['answers']}, "
            f"{steady['answers']} |"
        )
    yield from _growth(found["growth"])


def _growth(found: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "### Growth (`growth_1m`), on databases of its own"
    yield ""
    yield "| finished orders in the tables | orders/s | CPU µs per order, all processes |"
    yield "| ---: | ---: | ---: |"
    for point in found["points"]:
        cpu = sum(point["cpu_us_per_order"].values())
        yield f"| {point['finished']:,} | {point['orders_per_s']:,} | {cpu:,} |"
    yield ""
    yield (
        "What an order leaves on disk, at the last size, tables with their indexes and what their "
        "updates left to vacuum:"
    )
    yield ""
    yield "| stays | bytes per order | of which |"
    yield "| --- | ---: | --- |"
    for until, places in found["bytes_per_order"].items():
        parts = ", ".join(f"{name} {size:,}" for name, size in places.items())
        yield f"| {until} | {sum(places.values()):,} | {parts} |"


def _present(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name for name in WHO if name in rounds[0]]


def _cell(values: Sequence[float]) -> str:
    found = spread(values)
    return f"{found['median']:,g} ({found['least']:,g} to {found['greatest']:,g})"


def write(path: Path) -> None:
    """RESULTS.md beside the numbers at `path`, and the plots in a folder `plots` there."""
    plots = path.parent / "plots"
    plots.mkdir(exist_ok=True)
    drawn = subprocess.run(
        [python_of(ENVIRONMENT), "-m", "benchmarks.peers.plots", path, plots],
        cwd=PROJECT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = [f"plots/{name}" for name in drawn.stdout.split()]
    (path.parent / "RESULTS.md").write_text(text(json.loads(path.read_text()), names))


if __name__ == "__main__":
    write(RESULTS)
