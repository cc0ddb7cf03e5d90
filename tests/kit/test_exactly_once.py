"""One effect per message, whatever Kafka delivers and whoever dies."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import asyncpg
import orjson
import pytest

from contracts.inventory import RestoreStock
from contracts.message import new_message_id
from contracts.topics import INVENTORY_EVENTS
from services.kit.messages import Incoming, Record
from services.kit.processor import BatchProcessor
from services.kit.work import Several, Work
from tests.kit.conftest import Bench, effects, eventually, parked, restore, unsent


async def test_a_message_that_comes_twice_has_one_effect(bench: Bench) -> None:
    orders = [bench.order() for _ in range(20)]
    async with bench.running() as service:
        await bench.send(*orders, orders[0], orders[1])  # twice within a batch
        await bench.send(*orders)  # and in a later one
        await bench.send(last := bench.order("last"))
        await eventually(lambda: effects(service), lambda rows: rows[-1:] and len(rows) == 21)
        assert {str(order_id) for order_id, _ in await effects(service)} == {
            order.key for order in [*orders, last]
        }


async def test_after_a_restart_everything_goes_on_where_it_was(bench: Bench) -> None:
    first = [bench.order() for _ in range(10)]
    second = [bench.order() for _ in range(10)]
    async with bench.running() as service:
        await bench.send(*first)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 10)
    await bench.send(*second)
    async with bench.running() as service:
        await eventually(lambda: effects(service), lambda rows: len(rows) == 20)


async def test_three_replicas_share_the_work_and_double_none_of_it(bench: Bench) -> None:
    async with bench.running() as service, bench.running(), asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(bench.send(*[bench.order() for _ in range(30)]))
        async with bench.running():  # comes, and goes while messages are under way
            await bench.send(*[bench.order() for _ in range(100)])
        rows = await eventually(lambda: effects(service), lambda rows: len(rows) >= 400)
        assert len({order_id for order_id, _ in rows}) == len(rows) == 400


async def test_messages_of_one_key_keep_their_order(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(*[bench.order(str(number), key) for number in range(30)])
        rows = await eventually(lambda: effects(service), lambda rows: len(rows) == 30)
    assert [reason for _, reason in rows] == [str(number) for number in range(30)]


async def test_a_view_takes_all_messages_of_a_hot_key_at_once(bench: Bench) -> None:
    calls: list[list[str]] = []

    async def view(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        calls.append([m.message.reason for m in messages])
        await restore(work, messages)

    key = uuid4()
    hot = [bench.order(str(number), key) for number in range(30)]
    unread = hot.pop(20)._replace(payload="{}")
    await bench.send(*hot[:20], unread, *hot[20:])  # waiting before the start: one batch
    async with bench.running({RestoreStock: Several(view)}) as service:
        await eventually(lambda: parked(service), lambda rows: len(rows) == 10)
        assert await effects(service) == [(key, str(number)) for number in range(20)]
        states = [state for state, _ in await parked(service)]
    assert states == ["parked"] + ["waiting"] * 9
    assert calls == [[str(number) for number in range(20)]]


async def test_infrastructure_errors_cost_no_message_an_attempt(bench: Bench) -> None:
    failures = 4  # more than a message has attempts

    async def shaky(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise asyncpg.DeadlockDetectedError("somebody else won")
        await restore(work, messages)

    async with bench.running({RestoreStock: shaky}) as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        assert await parked(service) == []


async def test_what_a_handler_sends_is_published_and_then_forgotten(bench: Bench) -> None:
    async with bench.running() as service:
        before = len(await bench.records(INVENTORY_EVENTS.name, 0))
        await bench.send(order := bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        await eventually(lambda: unsent(service), lambda count: count == 0)
        records = await bench.records(INVENTORY_EVENTS.name, before + 1)
    answers = [r for r in records if r.key.decode() == order.key]
    assert len(answers) == 1
    headers = dict(answers[0].headers)
    assert headers["ce_type"] == b"inventory.stock-restored.v1"
    assert headers["ce_causationid"].decode() == str(order.message_id)


async def test_rows_that_a_crash_left_behind_are_published_by_the_sweeper(bench: Bench) -> None:
    async with bench.running() as service:
        orphan = bench.order()
        async with service.pool.acquire() as db:
            await db.execute(
                "INSERT INTO outbox (id, messages, leased_until) VALUES ($1, $2, now())",
                new_message_id(),
                orjson.dumps([[*orphan[:-1], orjson.Fragment(orphan.payload)]]).decode(),
            )
            (seen,) = await db.fetch("SELECT * FROM outbox_messages")
            assert (str(seen["message_id"]), seen["topic"]) == (orphan.message_id, orphan.topic)
        # It is addressed to the service itself: its effect shows that it was published.
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        await eventually(lambda: unsent(service), lambda count: count == 0)


async def test_a_defect_of_the_kit_itself_loses_no_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, failures = BatchProcessor.process, 1

    async def breaks(self: BatchProcessor, records: Sequence[Record]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError("a defect")
        await process(self, records)

    monkeypatch.setattr(BatchProcessor, "process", breaks)
    async with bench.running() as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
