"""A client that lives, keeps its partitions, and hears nothing any more."""

import pytest

from services.kit import consumer
from tests.kit.conftest import Bench, effects, eventually


async def test_a_consumer_whose_fetcher_died_joins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is reset while aiokafka writes ends its fetcher for good."""
    monkeypatch.setattr(consumer, "_DEAF_AFTER", 1.0)
    async with bench.running() as service:
        await bench.send(bench.order("before"))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        member = service._consumer
        assert member is not None
        member._consumer._fetcher._fetch_task.cancel()
        await bench.send(*(bench.order("after") for _ in range(20)))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 21, seconds=30)
