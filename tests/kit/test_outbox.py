"""The outbox with a partition that takes nothing, and with messages that Kafka never takes: both
delay themselves only. A topic that does not exist yet stands for a partition without a leader."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.dead_letters import MessageParked
from contracts.inventory import RestoreStock, StockRestored
from contracts.message import Envelope, Message, new_message_id
from contracts.topics import INVENTORY_DEAD_LETTERS
from services.kit import outbox_rows
from services.kit.messages import Incoming, Outgoing
from services.kit.service import Service
from services.kit.suspects import nowhere
from services.kit.work import Handler, Work
from tests.kit.conftest import Bench, effects, eventually, parked, restore, unsent
from tests.messages import outgoing

LONG = 60
"""Seconds: a machine that is busy with something else is slow, not wrong."""


async def create(bench: Bench, topic: str, **settings: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bench.kafka)
    await admin.start()
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
    await admin.close()


async def insert_orphan(service: Service, *messages: Outgoing) -> UUID:
    """A row as a crash leaves it."""
    row_id = new_message_id()
    text = orjson.dumps([[*m[:-1], orjson.Fragment(m.payload)] for m in messages]).decode()
    async with service.pool.acquire() as db:
        await db.execute(
            "INSERT INTO outbox (id, messages, leased_until) VALUES ($1, $2, now())", row_id, text
        )
    return row_id


def answering(*topics: str) -> dict[type[Message], Handler]:
    """A handler that has the effect, and sends one answer to each of these topics."""

    async def handle(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        before = len(work.outgoing)
        await restore(work, messages)
        del work.outgoing[before:]
        for m in messages:
            for topic in topics:
                answer = outgoing(StockRestored(order_id=m.message.order_id))
                work.outgoing.append(answer._replace(topic=topic))

    return {RestoreStock: handle}


def rows(service: Service, sql: str) -> Callable[[], Awaitable[list[Any]]]:
    async def look() -> list[Any]:
        async with service.pool.acquire() as db:
            return list(await db.fetch(sql))

    return look


async def keys_on(bench: Bench, topic: str, count: int) -> list[str]:
    """The keys of the first records of a topic."""
    return [record.key.decode() for record in await bench.records(topic, count)]


async def test_rows_that_kafka_never_takes_hold_back_no_row_behind_them(bench: Bench) -> None:
    missing = f"test.nowhere.{uuid4().hex[:12]}"
    async with bench.running() as service:
        for _ in range(25):  # more than one sweep takes
            await insert_orphan(service, bench.order()._replace(topic=missing))
        for _ in range(10):
            await insert_orphan(service, bench.order())
        await eventually(lambda: effects(service), lambda found: len(found) == 10, seconds=LONG)
        held = await eventually(
            rows(service, "SELECT held_for, reason FROM outbox WHERE held_for IS NOT NULL"),
            lambda found: len(found) == 25,
            seconds=LONG,
        )
        assert {tuple(row["held_for"]) for row in held} == {(f"{missing}/-1",)}
        reasons = {row["reason"] for row in held}
        assert any(missing in reason for reason in reasons), reasons


async def test_a_row_that_is_no_json_is_kept_and_holds_back_no_row(bench: Bench) -> None:
    async with bench.running() as service:
        async with service.pool.acquire() as db:
            await db.execute(
                "INSERT INTO outbox (id, messages, leased_until) VALUES ($1, '[[1]', now())",
                new_message_id(),
            )
        await insert_orphan(service, bench.order())
        await eventually(lambda: effects(service), lambda found: len(found) == 1, seconds=LONG)
        (kept,) = await eventually(
            rows(service, "SELECT messages, held_for, reason FROM outbox"),
            lambda found: len(found) == 1 and found[0]["reason"],
            seconds=LONG,
        )
        assert (kept["messages"], kept["held_for"]) == ("[[1]", [])
        assert "JSONDecodeError" in kept["reason"]


async def test_one_partition_that_takes_nothing_delays_its_own_messages_only(bench: Bench) -> None:
    """Each row has a message for either topic. The good ones go out once and at once; what is left
    waits in the outbox, and follows in its order when the topic is there."""
    good, bad = (f"test.{name}.{uuid4().hex[:12]}" for name in ("good", "bad"))
    await create(bench, good)
    key, others = uuid4(), [bench.order() for _ in range(4)]
    sent = [bench.order(str(number), key) for number in range(8)]
    async with bench.running(answering(good, bad)) as service:
        for each in [*sent[:4], *others]:
            await bench.send(each)
        await eventually(lambda: effects(service), lambda found: len(found) == 8, seconds=LONG)
        left = await eventually(
            rows(service, "SELECT topic FROM outbox_messages"),
            lambda found: {row["topic"] for row in found} == {bad} and len(found) == 8,
            seconds=LONG,
        )
        assert len(left) == 8
        assert sorted(await keys_on(bench, good, 8)) == sorted(
            each.key for each in [*sent[:4], *others]
        )
        # A batch waits for no partition that is known to fail.
        for each in sent[4:]:
            await bench.send(each)
        await eventually(lambda: effects(service), lambda found: len(found) == 12, seconds=LONG)

        await create(bench, bad)
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)
        records = await bench.records(bad, 12)
        assert len(records) == 12  # each of them once
        assert len(await keys_on(bench, good, 12)) == 12
    ours = [Envelope.parse(r.headers).id for r in records if r.key.decode() == str(key)]
    assert ours == sorted(ours)  # ids are made in the order of the batches
    assert len(ours) == 8


async def test_what_a_row_is_held_for_outlives_the_process(bench: Bench) -> None:
    """Whoever starts later publishes nothing past it: a key keeps its order."""
    bad = f"test.bad.{uuid4().hex[:12]}"
    key = uuid4()
    async with bench.running(answering(bad)) as service:
        await bench.send(bench.order("first", key))
        await eventually(
            rows(service, "SELECT FROM outbox WHERE held_for IS NOT NULL"),
            lambda found: len(found) == 1,
            seconds=LONG,
        )
    await create(bench, bad)
    async with bench.running(answering(bad)) as service:
        await bench.send(bench.order("second", key))
        await eventually(lambda: effects(service), lambda found: len(found) == 2, seconds=LONG)
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)
        ids = [Envelope.parse(record.headers).id for record in await bench.records(bad, 2)]
    assert ids == sorted(ids)


async def test_what_comes_later_waits_behind_what_is_held(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partition takes messages again, and what is held was not tried yet: nothing overtakes."""
    bad = f"test.bad.{uuid4().hex[:12]}"
    key = uuid4()

    async def none_yet(*_arguments: Any) -> list[asyncpg.Record]:
        return []

    async with bench.running(answering(bad)) as service:
        held = rows(service, "SELECT FROM outbox WHERE held_for IS NOT NULL")
        with monkeypatch.context() as patch:
            patch.setattr(outbox_rows, "lease_held", none_yet)
            await bench.send(bench.order("first", key))
            await eventually(held, lambda found: len(found) == 1, seconds=LONG)
            await create(bench, bad)

            async def no_suspect() -> bool:
                return bool(service.producer.due([nowhere(bad)]))

            await eventually(no_suspect, bool)
            await bench.send(bench.order("second", key))
            await eventually(lambda: effects(service), lambda found: len(found) == 2, seconds=LONG)
            await eventually(held, lambda found: len(found) == 2, seconds=10)
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)
        ids = [Envelope.parse(record.headers).id for record in await bench.records(bad, 2)]
    assert ids == sorted(ids)


async def test_a_partition_is_released_while_messages_come_and_the_database_is_slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While held rows are published, others are left behind them: that must come to an end."""
    bad, stop = f"test.bad.{uuid4().hex[:12]}", asyncio.Event()
    lease_held = outbox_rows.lease_held

    async def slowly(*arguments: Any) -> list[asyncpg.Record]:
        await asyncio.sleep(0.7)
        return await lease_held(*arguments)

    monkeypatch.setattr(outbox_rows, "lease_held", slowly)
    async with bench.running(answering(bad)) as service:

        async def customers() -> None:
            while not stop.is_set():
                await bench.send(bench.order())
                await asyncio.sleep(0.05)

        coming = asyncio.create_task(customers())
        held = rows(service, "SELECT FROM outbox WHERE held_for IS NOT NULL")
        await eventually(held, lambda found: len(found) > 5, seconds=LONG)
        await create(bench, bad)

        async def released() -> bool:
            return not service._outbox._held()

        await eventually(released, bool, seconds=LONG)
        stop.set()
        await coming
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)


async def announced(bench: Bench, topic: str) -> list[MessageParked]:
    records = await bench.records(INVENTORY_DEAD_LETTERS.name, 1)
    letters = [
        MessageParked.model_validate_json(record.value)
        for record in records
        if Envelope.parse(record.headers).type == MessageParked.wire_type
    ]
    return [letter for letter in letters if letter.source_topic == topic]


async def test_a_message_that_is_too_large_is_set_aside_and_can_be_replayed(bench: Bench) -> None:
    target = f"test.target.{uuid4().hex[:12]}"
    await create(bench, target)

    async def handle(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        before = len(work.outgoing)
        await restore(work, messages)
        del work.outgoing[before:]
        for m in messages:
            large = outgoing(RestoreStock(order_id=m.message.order_id, reason="x" * 30_000))
            work.outgoing.append(large._replace(topic=target))
            work.outgoing.append(outgoing(StockRestored(order_id=uuid4()))._replace(topic=target))

    async with bench.running({RestoreStock: handle}, max_message_bytes=20_000) as service:
        await bench.send(order := bench.order())
        ((state, reason),) = await eventually(
            lambda: parked(service), lambda found: len(found) == 1, seconds=LONG
        )
        assert state == "parked"
        assert "more than MAX_MESSAGE_BYTES, 20000" in reason
        assert len(await bench.records(target, 1)) == 1  # the one beside it
        (letter,) = await eventually(lambda: announced(bench, target), bool, seconds=LONG)
        assert (letter.source_key, letter.source_partition) == (order.key, -1)
        assert letter.message_type == RestoreStock.wire_type
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)

        await replay(service)  # before anything was changed: it is refused again
        await eventually(
            rows(service, "SELECT state, attempts FROM parked_messages"),
            lambda found: [tuple(row) for row in found] == [("parked", 2)],
            seconds=LONG,
        )
        await bench.send(bench.order("another", UUID(order.key)))  # nothing waits behind it
        await eventually(lambda: effects(service), lambda found: len(found) == 2, seconds=LONG)

    async with bench.running(max_message_bytes=100_000) as service:
        await replay(service)
        await eventually(
            lambda: parked(service),
            lambda found: (
                [state for state, _ in found] == ["replayed", "parked"]
                or [state for state, _ in found] == ["replayed", "replayed"]
            ),
            seconds=LONG,
        )
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)
        records = await bench.records(target, 4)
        assert max(len(record.value) for record in records) > 30_000


async def replay(service: Service) -> None:
    async with service.pool.acquire() as db:
        await db.execute("UPDATE parked_messages SET state = 'replay' WHERE state = 'parked'")


@pytest.mark.parametrize("others", [2, 30])
async def test_what_the_broker_finds_too_large_is_found_in_its_batch(
    bench: Bench, others: int
) -> None:
    """The topic's own limit is lower than the setting: the batch is cut until the culprit stands
    alone, and it alone is set aside."""
    target = f"test.target.{uuid4().hex[:12]}"
    await create(bench, target, max_message_bytes="4000")
    keys = [uuid4() for _ in range(others)]

    async def handle(work: Work, messages: list[Incoming[RestoreStock]]) -> None:
        before = len(work.outgoing)
        await restore(work, messages)
        del work.outgoing[before:]
        answers: Sequence[Message] = [
            *(StockRestored(order_id=each) for each in keys[: others // 2]),
            RestoreStock(order_id=uuid4(), reason="x" * 5_000),
            *(StockRestored(order_id=each) for each in keys[others // 2 :]),
        ]
        work.outgoing.extend(outgoing(answer)._replace(topic=target) for answer in answers)

    async with bench.running({RestoreStock: handle}) as service:
        await bench.send(bench.order())
        ((_, reason),) = await eventually(
            lambda: parked(service), lambda found: len(found) == 1, seconds=LONG
        )
        assert "MessageSizeTooLarge" in reason
        assert {UUID(key) for key in await keys_on(bench, target, others)} == set(keys)
        await eventually(lambda: unsent(service), lambda count: count == 0, seconds=LONG)
