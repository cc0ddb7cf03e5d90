"""How far behind: by looks at the ends alone, and on a real broker, running or not."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from prometheus_client import REGISTRY

from contracts.inventory import RestoreStock
from services.kit.backlog import MOST_LOOKS, Backlog, Backlogs
from services.kit.lag import Lag, group_lags
from services.kit.messages import Incoming
from services.kit.work import Work
from tests.kit.conftest import Bench, effects, eventually, restore


def looked(*looks: tuple[int, float]) -> Backlog:
    backlog = Backlog()
    for end, at in looks:
        backlog.look(end, at)
    return backlog


def test_nothing_behind_is_no_age() -> None:
    assert looked((100, 0)).age(100, 50) == 0


def test_an_end_that_moved_tells_when_its_records_came() -> None:
    backlog = looked((100, 0), (100, 10), (120, 20), (120, 30))
    assert backlog.age(100, 30) == 20  # after the look at 10, when there was nothing yet
    assert backlog.age(110, 30) == 15  # half of what came between 10 and 20
    assert backlog.age(119, 30) == pytest.approx(10.5)
    assert backlog.age(120, 30) == 0


def test_what_waited_before_the_first_look_is_as_old_as_its_record_says() -> None:
    backlog = looked((100, 1000))
    assert not backlog.knows(40)
    assert backlog.age(40, 1005) == 5  # at least
    backlog.written(40, 400)
    assert backlog.knows(40)
    assert backlog.age(40, 1005) == 605
    assert backlog.age(70, 1005) == 305  # it has caught up by half


def test_a_long_wait_needs_little_memory_and_keeps_its_beginning() -> None:
    backlog = looked(*((offset, float(offset)) for offset in range(5000)))
    assert len(backlog._looks) <= MOST_LOOKS
    assert backlog.age(0, 5000) == 5000
    assert backlog.age(2500, 5000) == pytest.approx(2500, abs=50)
    assert backlog.age(4999, 5000) == 0


def test_an_end_that_fell_back_begins_anew() -> None:
    backlog = looked((100, 0), (120, 10), (90, 20), (95, 30))
    assert backlog.age(90, 30) == 10
    assert backlog.age(95, 30) == 0


def test_a_topic_is_as_old_as_the_oldest_of_its_partitions() -> None:
    one, other, idle = (TopicPartition("t", number) for number in (0, 1, 2))
    backlogs = Backlogs(["t", "quiet"])
    old = ConsumerRecord("t", 1, 5, 1_000, 0, b"", b"", None, 0, 0, ())
    ends = {one: 10, other: 10, idle: 3}
    behind = backlogs.measure(ends, {one: 10, other: 5, idle: 3}, [old], 100)
    assert behind["t"] == (5, 99)
    assert behind["quiet"] == (0, 0)
    # Without a record to look at, it is dated by the looks before.
    assert backlogs.measure(ends | {one: 15}, dict(ends), (), 110)["t"] == (5, 10)
    assert backlogs.measure(ends | {one: 15}, dict(ends), (), 130)["t"] == (5, 30)
    # One that was given to another process is forgotten, not told for ever.
    assert backlogs.measure({one: 15}, {one: 15}, (), 140)["t"] == (0, 0)


def seconds_of(bench: Bench) -> Callable[[], Awaitable[float]]:
    async def look() -> float:
        labels = {"topic": bench.topic.name}
        return REGISTRY.get_sample_value("orderflow_consumer_lag_seconds", labels) or 0.0

    return look


async def test_a_service_has_caught_up_once_what_waited_for_it_is_handled(bench: Bench) -> None:
    handling = asyncio.Event()

    async def when_told(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        await handling.wait()
        await restore(work, messages)

    await bench.send(*(bench.order("waited") for _ in range(5)))
    async with bench.running({RestoreStock: when_told}) as service:
        member = service._consumer
        assert member is not None
        await member._measure_lag()
        assert not service.caught_up
        handling.set()
        await eventually(lambda: effects(service), lambda rows: len(rows) == 5)

        async def caught_up() -> bool:
            await member._measure_lag()
            return service.caught_up

        await eventually(caught_up, bool)


async def test_the_age_grows_while_a_handler_hangs_and_goes_back(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def hangs(_work: Work, _messages: list[Incoming[RestoreStock]]) -> None:
        await go_on.wait()

    async with bench.running({RestoreStock: hangs}) as service:
        await eventually(joined, bool)
        await bench.send(bench.order())
        first = await eventually(seconds_of(bench), lambda age: age > 0)
        await eventually(seconds_of(bench), lambda age: age > first + 2)
        assert await stalled() > 2
        assert service.liveness() is None  # not for so little
        go_on.set()
        await eventually(seconds_of(bench), lambda age: age == 0)
        assert await eventually(stalled, lambda seconds: seconds == 0) == 0


async def test_who_starts_late_knows_how_old_the_work_is(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def hangs(_work: Work, _messages: list[Incoming[RestoreStock]]) -> None:
        await go_on.wait()

    await bench.send(bench.order())
    await asyncio.sleep(3)
    async with bench.running({RestoreStock: hangs}):
        assert await eventually(seconds_of(bench), lambda age: age > 0) >= 3
        go_on.set()
        await eventually(seconds_of(bench), lambda age: age == 0)


async def test_the_broker_tells_of_a_group_that_does_not_run(bench: Bench) -> None:
    async def of_the_topic() -> Lag:
        lags = await group_lags(bench.kafka, ["inventory"])
        return next(lag for lag in lags if lag.topic == bench.topic.name)

    async with bench.running() as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
    assert await of_the_topic() == ("inventory", bench.topic.name, 0, 0.0)
    sent_at = time.time()
    await bench.send(*(bench.order() for _ in range(7)))
    first = await of_the_topic()
    assert first.records == 7  # wherever they are, though it has acknowledged one partition only
    # What was handled before, and is older, does not count; records tell whole milliseconds.
    assert 0 < first.seconds <= time.time() - sent_at + 0.001
    await asyncio.sleep(1)
    await bench.send(bench.order())  # a newer one does not make the oldest younger
    later = await of_the_topic()
    assert later.records == 8
    assert later.seconds >= first.seconds + 1
    async with bench.running() as service:
        await eventually(lambda: effects(service), lambda rows: len(rows) == 9)
    assert await of_the_topic() == ("inventory", bench.topic.name, 0, 0.0)


async def joined() -> float:
    return REGISTRY.get_sample_value("orderflow_consumer_joined") or 0.0


async def stalled() -> float:
    return REGISTRY.get_sample_value("orderflow_consumer_stalled_seconds") or 0.0
