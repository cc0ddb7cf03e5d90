"""A service says what it lacks, and when it stands still."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from structlog.testing import capture_logs

from contracts.inventory import RestoreStock
from contracts.topics import Topic
from deploy.local.stack import LocalStack
from services.kit.messages import Incoming
from services.kit.service import Service
from services.kit.work import Work
from tests.kit.conftest import Bench, effects, eventually, unsent


async def test_a_missing_topic_is_named_with_what_to_do(bench: Bench) -> None:
    bench.topic = Topic("test.nowhere", owner="inventory", key="order_id")
    service = bench.service()
    with capture_logs() as logs:
        async with service.lifespan():
            await eventually(_told_by(logs), lambda told: "no such topics" in told)
            assert "kafka" in await service.readiness()
    told = str(logs)
    assert "no such topics: test.nowhere" in told
    assert "python -m deploy.create_topics" in told


async def test_a_batch_waits_for_no_thread(bench: Bench) -> None:
    """FastStream would look each batch's argument up in one of AnyIO's."""
    before = _workers()
    async with bench.running() as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        assert _workers() == before


def _workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("AnyIO")}


def _told_by(logs: list[Any]) -> Callable[[], Awaitable[str]]:
    async def look() -> str:
        return str(logs)

    return look


async def test_a_consumer_that_stands_still_although_there_is_work_is_unhealthy(
    bench: Bench,
) -> None:
    stuck = asyncio.Event()

    async def hangs(_work: Work, _messages: list[Incoming[RestoreStock]]) -> None:
        await stuck.wait()

    async with bench.running({RestoreStock: hangs}, stalled_after_seconds=0.5) as service:
        assert service.liveness() is None
        await bench.send(bench.order(), bench.order())
        trouble = await eventually(_liveness_of(service), lambda told: told is not None)
        assert "although there is work" in trouble
        stuck.set()
        await eventually(_liveness_of(service), lambda told: told is None)


def _liveness_of(service: Service) -> Callable[[], Awaitable[str | None]]:
    async def look() -> str | None:
        return service.liveness()

    return look


async def test_a_periodic_task_that_fails_is_tried_again(bench: Bench) -> None:
    service = bench.service()
    calls, enough = 0, asyncio.Event()

    @service.every(seconds=0.05, name="shaky")
    async def shaky(_work: Work) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("once")
        if calls == 3:
            enough.set()

    async with service.lifespan(), asyncio.timeout(10):
        await enough.wait()


async def test_requests_that_hold_all_connections_hold_up_no_message(bench: Bench) -> None:
    async with bench.running(database_pool_size=2) as service:
        onlooker = await asyncpg.connect(bench.dsn)
        try:
            async with service.pool.acquire(), service.pool.acquire():
                await bench.send(bench.order())
                await eventually(
                    lambda: onlooker.fetch("SELECT FROM effects"), lambda rows: len(rows) == 1
                )
        finally:
            await onlooker.close()


async def test_a_broker_that_goes_away_delays_messages_and_loses_none(
    bench: Bench, servers: LocalStack
) -> None:
    async with bench.running() as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        servers.kill("kafka")
        order = bench.order("sent while the broker was away")
        async with service.transaction(publish="later") as work:
            work.outgoing.append(order)
        away = await eventually(service.readiness, lambda missing: "kafka" in missing)
        assert away == {"kafka": "the broker does not answer"}
        servers.start("kafka")
        await eventually(lambda: effects(service), lambda rows: len(rows) == 2, seconds=60)
        await eventually(lambda: unsent(service), lambda count: count == 0)
