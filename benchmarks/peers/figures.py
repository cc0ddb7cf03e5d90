"""From the rounds' numbers to the figures that have a target. Pure: no I/O, no clock.

A figure of several rounds is the median of the rounds' own quotients, since the contenders of one
round met the same machine.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MESSAGES_ON_THE_WAY = 6
"""PlaceOrder, ReserveStock, StockReserved, RequestPayment, PaymentSucceeded, OrderUpdated."""

Round = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should be, at least or at most."""

    value: float
    at_most: bool
    meaning: str

    def met_by(self, figure: float) -> bool:
        return figure <= self.value if self.at_most else figure >= self.value


def _at_least(value: float, meaning: str) -> Target:
    return Target(value, False, meaning)


def _at_most(value: float, meaning: str) -> Target:
    return Target(value, True, meaning)


# fmt: off
TARGETS: Mapping[str, Target] = {
    "vs_monolith":          _at_least(2.0, "ours over the monolith, 1,000 products"),
    "hot_vs_monolith":      _at_least(6, "ours over the monolith, one product for everybody"),
    "hot_vs_even":          _at_least(0.9, "ours with one product over ours with 1,000"),
    "vs_dbos":              _at_least(50, "ours over DBOS Transact, 1,000 products"),
    "vs_faststream_outbox": _at_least(10, "ours over faststream-outbox, 1,000 products"),
    "p50_over_parts":       _at_most(1.5, f"p50 at 50 orders/s over {MESSAGES_ON_THE_WAY} times "
                                          "(a Kafka round trip + a commit)"),
    "p99_over_p50_at_300":  _at_most(4, "at 300 orders/s"),
    "growth_1m":            _at_most(1.1, "an order's cost with a million finished ones more, over "
                                          "that without"),
    "http_orders_per_s":    _at_least(300, "decided over HTTP, with calls to the Stripe stand-in"),
    "http_p99_ms_at_100":   _at_most(250, "over HTTP at 100 orders/s"),
}
# fmt: on


def of_round(one: Round) -> dict[str, float]:
    """The figures of one round; those whose parts were not measured are missing."""
    found: dict[str, float] = {}

    def rate(contender: str, load: str) -> float | None:
        value: float | None = one.get(contender, {}).get(load, {}).get("orders_per_s")
        return value

    def quotient(name: str, above: float | None, below: float | None) -> None:
        if above is not None and below:
            found[name] = above / below

    quotient("vs_monolith", rate("ours", "even"), rate("monolith", "even"))
    quotient("hot_vs_monolith", rate("ours", "hot"), rate("monolith", "hot"))
    quotient("hot_vs_even", rate("ours", "hot"), rate("ours", "even"))
    quotient("vs_dbos", rate("ours", "even"), rate("dbos", "even"))
    quotient("vs_faststream_outbox", rate("ours", "even"), rate("faststream_outbox", "even"))
    latency: Mapping[str, Mapping[str, float]] = one.get("ours", {}).get("latency", {})
    limits: Mapping[str, float] = one.get("limits", {})
    if "50" in latency and limits:
        parts = limits["kafka_round_trip_ms"] + limits["commit_ms"]
        quotient("p50_over_parts", latency["50"]["p50_ms"], MESSAGES_ON_THE_WAY * parts)
    if "300" in latency:
        quotient("p99_over_p50_at_300", latency["300"]["p99_ms"], latency["300"]["p50_ms"])
    return found


def of_rounds(rounds: Sequence[Round]) -> dict[str, dict[str, Any]]:
    """By name: the median, the least and the greatest of the rounds, the target, whether met."""
    by_round = [of_round(one) for one in rounds]
    figures = {}
    for name, target in TARGETS.items():
        values = [found[name] for found in by_round if name in found]
        if values:
            median = statistics.median(values)
            figures[name] = {
                "median": round(median, 2),
                "least": round(min(values), 2),
                "greatest": round(max(values), 2),
                "target": target.value,
                "met": target.met_by(median),
            }
    return figures


def of_further(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures that are measured once."""
    if not found:
        return {}
    rates = [point["orders_per_s"] for point in found["growth"]["points"]]
    alone = found["http"]["1"]
    once = {
        "growth_1m": round(rates[0] / rates[-1], 2),
        "http_orders_per_s": alone["full"]["decided_per_s"],
        "http_p99_ms_at_100": alone["steady"]["p99_ms"],
    }
    figures: dict[str, dict[str, Any]] = {
        name: spread([value]) | {"target": TARGETS[name].value, "met": TARGETS[name].met_by(value)}
        for name, value in once.items()
    }
    return figures | {"drain_20k_seconds": {"median": found["drain"]["seconds"]}}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {
        "median": round(statistics.median(values), 2),
        "least": round(min(values), 2),
        "greatest": round(max(values), 2),
    }
