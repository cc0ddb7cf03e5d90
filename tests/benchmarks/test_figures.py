"""The figures of `make bench-peers` come out of the rounds' numbers as their names say."""

import pytest

from benchmarks.peers import figures


def _rates(even: float, hot: float) -> dict[str, dict[str, float]]:
    return {"even": {"orders_per_s": even}, "hot": {"orders_per_s": hot}}


def test_each_round_is_compared_with_itself() -> None:
    # The machine was half as fast in the second round, and strange in the third.
    rounds = [
        {"ours": _rates(2000, 1900), "monolith": _rates(1000, 200)},
        {"ours": _rates(1000, 950), "monolith": _rates(500, 100)},
        {"ours": _rates(2000, 1500), "monolith": _rates(500, 500)},
    ]

    found = figures.of_rounds(rounds)

    assert found["vs_monolith"]["median"] == 2
    assert found["vs_monolith"]["greatest"] == 4
    assert found["hot_vs_monolith"]["median"] == 9.5
    assert found["hot_vs_even"] == {
        "median": 0.95,
        "least": 0.75,
        "greatest": 0.95,
        "target": 0.9,
        "met": True,
    }
    assert "vs_dbos" not in found, "nobody measured it"


@pytest.mark.parametrize(
    ("p50_ms", "p99_ms", "parts_met", "tail_met"),
    [(90, 360, True, True), (90, 361, True, False), (91, 91, False, True)],
)
def test_latency_is_judged_against_its_parts_and_its_own_median(
    p50_ms: float, p99_ms: float, parts_met: bool, tail_met: bool
) -> None:
    latency = {"50": {"p50_ms": p50_ms, "p99_ms": 0}, "300": {"p50_ms": p50_ms, "p99_ms": p99_ms}}
    # Six messages, of ten milliseconds each: 90 ms are 1.5 times that.
    limits = {"kafka_round_trip_ms": 4, "commit_ms": 6}

    found = figures.of_rounds([{"ours": {"latency": latency}, "limits": limits}])

    assert found["p50_over_parts"]["met"] is parts_met
    assert found["p99_over_p50_at_300"]["met"] is tail_met
