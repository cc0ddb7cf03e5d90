"""The loop of workers that call somebody outside, without servers: no outcome is lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast
from uuid import UUID, uuid4

from prometheus_client import CollectorRegistry, Gauge

from services.kit.calls import Finished, Workers, backoff
from services.kit.service import Service
from services.kit.work import Work


class Call(NamedTuple):
    order_id: UUID


class Nothing:
    """What the loop uses of a service: transactions, here of nothing."""

    pool = None

    @asynccontextmanager
    async def transaction(self, publish: str) -> AsyncIterator[Work]:
        yield Work(cast("Any", None), publish)


async def test_a_call_that_ends_after_another_was_recorded_is_recorded_too() -> None:
    quick, slow = Call(uuid4()), Call(uuid4())
    due, recorded = [quick, slow], asyncio.Queue[Call]()
    quick_is_recorded = asyncio.Event()

    async def claim(_pool: object, limit: int) -> list[Call]:
        taken, due[:] = due[:limit], due[limit:]
        return taken

    async def make(call: Call) -> str:
        if call is slow:
            await quick_is_recorded.wait()
        return "done"

    async def record(_work: Work, batch: Sequence[Finished[Call, str]]) -> list[float]:
        for finished in batch:
            recorded.put_nowait(finished.call)
        return []

    in_flight = Gauge("in_flight", "a test's", registry=CollectorRegistry())
    workers = Workers[Call, str]("nobody", slots=2, claim=claim, record=record, in_flight=in_flight)
    task = asyncio.create_task(workers.run(cast("Service", Nothing()), make))
    try:
        async with asyncio.timeout(10):
            assert await recorded.get() is quick
            quick_is_recorded.set()
            assert await recorded.get() is slow
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_call_that_raises_costs_no_slot() -> None:
    """One such defect after another must not use up all slots, one by one and for ever."""
    bad, good = [Call(uuid4()) for _ in range(3)], Call(uuid4())
    due, recorded = [*bad, good], asyncio.Queue[Call]()

    async def claim(_pool: object, limit: int) -> list[Call]:
        taken, due[:] = due[:limit], due[limit:]
        return taken

    async def make(call: Call) -> str:
        if call in bad:
            raise RuntimeError("a defect")
        return "done"

    async def record(_work: Work, batch: Sequence[Finished[Call, str]]) -> list[float]:
        for finished in batch:
            recorded.put_nowait(finished.call)
        return []

    in_flight = Gauge("in_flight", "a test's", registry=CollectorRegistry())
    workers = Workers[Call, str]("nobody", slots=1, claim=claim, record=record, in_flight=in_flight)
    task = asyncio.create_task(workers.run(cast("Service", Nothing()), make))
    try:
        async with asyncio.timeout(10):
            assert await recorded.get() is good
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_pauses_double_up_to_the_longest_and_half_of_them_is_chance() -> None:
    assert [backoff(1, 5, attempts, 1.0) for attempts in (1, 2, 3, 4, 100)] == [1, 2, 4, 5, 5]
    assert backoff(1, 5, 2, 0.0) == 1
