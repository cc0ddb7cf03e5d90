"""A client that lives, keeps its partitions, and whose inside has died in part."""

import asyncio

import pytest

from contracts.inventory import RestoreStock
from services.kit import ailment, offsets
from services.kit.lag import group_lags
from services.kit.messages import Incoming
from services.kit.service import Service
from services.kit.work import Work
from tests.kit.conftest import Bench, effects, eventually, restore


async def _handled(service: Service, count: int) -> None:
    await eventually(lambda: effects(service), lambda rows: len(rows) == count, seconds=30)


async def test_a_consumer_whose_fetcher_died_joins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is reset while aiokafka writes ends its fetcher for good."""
    monkeypatch.setattr(ailment, "_DEAF_AFTER", 1.0)
    async with bench.running() as service:
        await bench.send(bench.order("before"))
        await _handled(service, 1)
        member = service._consumer
        assert member is not None
        assert member._consumer is not None
        member._consumer._fetcher._fetch_task.cancel()
        await bench.send(*(bench.order("after") for _ in range(20)))
        await _handled(service, 21)


async def test_after_an_abandoned_batch_a_silent_consumer_still_joins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is given up while it waits for infrastructure, and its client fetches nothing more:
    the wait is over, so the silence counts."""
    monkeypatch.setattr(ailment, "_DEAF_AFTER", 1.0)
    away = True

    async def shaky(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        if away:
            raise ConnectionError("the database is away")
        await restore(work, messages)

    async with bench.running({RestoreStock: shaky}) as service:
        member = service._consumer
        assert member is not None
        await bench.send(bench.order())

        async def waits() -> bool:
            return member._processor.waiting_for_infrastructure

        await eventually(waits, bool)
        async with member._giving_up_the_batch():
            away = False
            assert not await waits()
        # The position is past the batch, so nothing comes until the client is replaced.
        await _handled(service, 1)


async def test_a_consumer_that_cannot_acknowledge_any_more_joins_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the task ends that keeps aiokafka's metadata, whoever looks for the coordinator waits
    for ever and keeps its lock; fetching goes on, and so would every record come again."""
    monkeypatch.setattr(ailment, "_AILING_AFTER", 1.0)
    monkeypatch.setattr(offsets, "_PATIENCE", 1.0)

    async def unacknowledged() -> int | None:
        lags = await group_lags(bench.kafka, ["inventory"], with_age=False)
        return next((lag.records for lag in lags if lag.topic == bench.topic.name), None)

    async with bench.running() as service:
        await bench.send(bench.order("before"))
        await _handled(service, 1)
        await eventually(unacknowledged, lambda records: records == 0)
        member = service._consumer
        assert member is not None
        assert member._consumer is not None
        coordinator = member._consumer._coordinator
        async with asyncio.timeout(5):
            await coordinator._coordinator_lookup_lock.acquire()
        coordinator.coordinator_dead()
        await bench.send(*(bench.order("after") for _ in range(20)))
        await _handled(service, 21)
        await eventually(unacknowledged, lambda records: records == 0, seconds=40)
        await bench.send(bench.order("later"))
        await _handled(service, 22)
