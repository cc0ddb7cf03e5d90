"""What cannot be handled is parked with all that is known of it, and nothing else suffers."""

import random
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from typing import Any
from uuid import uuid4

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from contracts.dead_letters import MessageParked
from contracts.inventory import ReserveStock, RestoreStock
from contracts.message import Envelope, new_message_id
from contracts.topics import INVENTORY_DEAD_LETTERS
from services.kit import work as work_module
from services.kit.messages import MOST_OF_A_REASON, Incoming, Outgoing, shortened
from services.kit.service import Service
from services.kit.work import Work, ignore
from tests.kit.conftest import POISON, Bench, effects, eventually, parked, unsent
from tests.messages import outgoing

Headers = list[tuple[str, bytes | None]]


async def test_a_failing_message_is_found_in_its_batch_and_parked_alone(bench: Bench) -> None:
    orders = [bench.order(POISON if number in (7, 33) else "ok") for number in range(50)]
    await bench.send(*orders)  # waiting before the start, so that they come as one batch
    async with bench.running() as service:
        await eventually(lambda: effects(service), lambda rows: len(rows) == 48)
        rows = await eventually(lambda: parked(service), lambda rows: len(rows) == 2)
    assert rows == [("parked", "ValueError: this message always fails")] * 2


async def test_later_messages_of_the_key_wait_and_a_replay_keeps_their_order(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(bench.order(POISON, key), bench.order("second", key))
        await bench.send(bench.order("third", key), bench.order("other key"))
        await eventually(lambda: parked(service), lambda rows: len(rows) == 3)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        assert [state for state, _ in await parked(service)] == ["parked", "waiting", "waiting"]

        await mend(service)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 4)
        assert [reason for _, reason in (await effects(service))[1:]] == [
            "mended",
            "second",
            "third",
        ]
        assert {state for state, _ in await parked(service)} == {"replayed"}

        await bench.send(bench.order("fourth", key))  # the way is free again
        await eventually(lambda: effects(service), lambda rows: len(rows) == 5)


async def mend(service: Service) -> None:
    """Correct what made the message fail, and ask for its replay."""
    async with service.pool.acquire() as db:
        await db.execute(
            """
            UPDATE parked_messages
               SET state = 'replay',
                   payload = convert_to(replace(convert_from(payload, 'UTF8'), 'poison', 'mended'),
                                        'UTF8')
             WHERE state = 'parked'
            """
        )


async def test_a_replay_that_fails_again_says_so(bench: Bench) -> None:
    async with bench.running() as service:
        await bench.send(bench.order(POISON))
        await eventually(lambda: parked(service), lambda rows: len(rows) == 1)
        async with service.pool.acquire() as db:
            await db.execute("UPDATE parked_messages SET state = 'replay', reason = 'asked'")
        rows = await eventually(lambda: parked(service), lambda rows: rows[0][0] == "parked")
        assert rows == [("parked", "ValueError: this message always fails")]
        async with service.pool.acquire() as db:
            assert await db.fetchval("SELECT attempts FROM parked_messages") == 3


async def test_records_that_are_no_messages_are_parked_and_the_partition_goes_on(
    bench: Bench,
) -> None:
    good = bench.order()
    headers: Headers = [*good.kafka_headers()]
    unknown: Headers = [("ce_type", b"inventory.restore-stock.v9"), *headers[:2], *headers[3:]]
    too_old: Headers = [
        ("ce_id", b"01800000-0000-7000-8000-000000000000"),
        *headers[:1],
        *headers[2:],
    ]
    value = good.payload.encode()
    cases: list[tuple[bytes | None, Headers, bytes | None, str]] = [
        (b"a", headers, b"{not json", "Invalid JSON"),
        (b"b", headers, b'{"order_id": 7, "reason": "x"}', "order_id"),
        (b"c", unknown, value, "does not accept inventory.restore-stock.v9"),
        (b"d", [("ce_id", None)], value, "header ce_id is missing"),
        (b"e", [(name, b"\xff\xfe") for name, _ in headers], value, "not UTF-8"),
        (b"f", headers, None, "no value"),
        (None, headers, value, "no key"),
        (b"g", [("ce_id", str(uuid4()).encode()), *headers[2:]], value, "not a UUIDv7"),
        (b"h", too_old, value, "older than the inbox remembers"),
        (b"i" * 10, headers, b"x" * 900_000, "Invalid JSON"),
        # PostgreSQL keeps no NUL as text: unparkable, it would stop the partition for everybody.
        (b"\x00", [*headers, ("\x00", None)], b"\x00", "Invalid JSON"),
        (b"k", [(n, b"\x00" if n == "ce_subject" else v) for n, v in headers], value, "a NUL"),
    ]
    producer = AIOKafkaProducer(bootstrap_servers=bench.kafka)
    await producer.start()
    async with bench.running() as service:
        for key, sent, payload, _ in cases:
            fresh = [(n, _fresh(v) if n == "ce_id" and v == headers[1][1] else v) for n, v in sent]
            await producer.send_and_wait(bench.topic.name, payload, key=key, headers=fresh)
        await bench.send(good)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        rows = await eventually(lambda: parked(service), lambda rows: len(rows) == len(cases))
    await producer.stop()
    for _, _, _, reason in cases:
        assert any(reason in found for _, found in rows), (reason, rows)


def _fresh(_id: bytes | None) -> bytes:
    return str(new_message_id()).encode()


async def test_a_key_that_fits_into_no_btree_is_parked_and_what_follows_waits(
    bench: Bench,
) -> None:
    """A B-tree takes 2,700 bytes; such a record could not be parked, and stopped its partition."""
    key = "".join(random.Random(1).choices("0123456789abcdef", k=100_000))  # not compressible
    first, second, other = bench.order(POISON), bench.order("second"), bench.order("other")
    producer = AIOKafkaProducer(bootstrap_servers=bench.kafka)
    await producer.start()
    async with bench.running() as service:
        for sent in (first, second):
            await producer.send_and_wait(
                bench.topic.name,
                sent.payload.encode(),
                key=key.encode(),
                headers=sent.kafka_headers(),
                partition=0,
            )
        await producer.send_and_wait(
            bench.topic.name,
            other.payload.encode(),
            key=other.key.encode(),
            headers=other.kafka_headers(),
            partition=0,
        )
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        states = [state for state, _ in await parked(service)]
        assert states == ["parked", "waiting"]

        async def announced() -> list[MessageParked]:
            letters = await _letters(bench)
            return [letter for letter in letters if str(letter.message_id) == first.message_id]

        (letter,) = await eventually(announced, bool)
        assert letter.source_key == shortened(key)
        await mend(service)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 3)
        assert {state for state, _ in await parked(service)} == {"replayed"}
    await producer.stop()


async def test_a_reason_does_not_grow_with_the_record(bench: Bench) -> None:
    """One problem for each of a hundred thousand lines made a reason that no topic took."""
    order = bench.to_topic(
        outgoing(ReserveStock(order_id=uuid4(), lines=()))._replace(
            payload=orjson.dumps({"order_id": str(uuid4()), "lines": [1] * 100_000}).decode()
        )
    )

    async def handle(_work: Work, _messages: list[Incoming[Any]]) -> None:
        raise ValueError("x" * 3_000 + "\ud800")

    async with bench.running({ReserveStock: ignore, RestoreStock: handle}) as service:
        await bench.send(order, failing := bench.order())
        rows = await eventually(lambda: parked(service), lambda rows: len(rows) == 2)
        assert max(len(reason) for _, reason in rows) <= MOST_OF_A_REASON
        assert any("99990 more problems" in reason for _, reason in rows)
        await eventually(lambda: unsent(service), lambda count: count == 0)

        async def announced() -> list[MessageParked]:
            ours = {order.message_id, failing.message_id}
            return [each for each in await _letters(bench) if str(each.message_id) in ours]

        letters = await eventually(announced, lambda found: len(found) == 2, seconds=60)
        assert max(len(letter.reason) for letter in letters) <= MOST_OF_A_REASON

        async with service.pool.acquire() as db:
            await db.execute("UPDATE parked_messages SET state = 'replay'")

        async def attempts() -> int:
            async with service.pool.acquire() as db:
                found: int = await db.fetchval("SELECT min(attempts) FROM parked_messages")
            return found

        await eventually(attempts, lambda count: count >= 2)
        assert max(len(reason) for _, reason in await parked(service)) <= MOST_OF_A_REASON


async def _letters(bench: Bench) -> list[MessageParked]:
    return [
        MessageParked.model_validate_json(record.value)
        for record in await bench.records(INVENTORY_DEAD_LETTERS.name, 1)
        if Envelope.parse(record.headers).type == MessageParked.wire_type
    ]


async def test_a_dead_letter_that_cannot_be_tried_keeps_no_other_from_it(bench: Bench) -> None:
    """Edited by SQL, so that neither its headers nor what fails can be read."""
    async with bench.running() as service:
        await bench.send(bench.order(POISON))
        await eventually(lambda: parked(service), lambda rows: len(rows) == 1)
        await bench.send(bench.order(POISON))
        await eventually(lambda: parked(service), lambda rows: len(rows) == 2)
        async with service.pool.acquire() as db:
            await db.execute(
                """
                UPDATE parked_messages
                   SET headers = '[]', state = 'replay', reason = 'edited'
                 WHERE id = (SELECT min(id) FROM parked_messages)
                """
            )
        await mend(service)
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        await eventually(
            lambda: parked(service), lambda rows: [r[0] for r in rows] == ["parked", "replayed"]
        )


async def test_a_clock_that_is_weeks_fast_sets_nothing_aside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How old a message is goes by the database's clock, which all processes share."""

    class Fast(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Fast":
            return super().now(tz) + timedelta(days=15)

    monkeypatch.setattr(work_module, "datetime", Fast)
    async with bench.running() as service:
        await bench.send(bench.order())
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        assert await parked(service) == []


async def test_parking_is_announced_without_the_payload(bench: Bench) -> None:
    async with bench.running() as service:
        order: Outgoing = bench.order(POISON)
        await bench.send(order)
        await eventually(lambda: parked(service), lambda rows: len(rows) == 1)

        async def announced() -> list[MessageParked]:  # others' may be there before it
            records = await bench.records(INVENTORY_DEAD_LETTERS.name, 1)
            letters = [
                MessageParked.model_validate_json(record.value)
                for record in records
                if Envelope.parse(record.headers).type == MessageParked.wire_type
            ]
            return [letter for letter in letters if letter.source_key == order.key]

        (mine,) = await eventually(announced, bool)
    assert str(mine.message_id) == order.message_id
    assert mine.source_topic == bench.topic.name
    assert mine.attempts == 2


async def test_a_record_of_a_compacted_topic_is_never_too_old(bench: Bench) -> None:
    bench.topic = replace(bench.topic, retention=None, compacted=True)
    good = bench.order("old and still true")
    async with bench.running() as service:
        await bench.send(good._replace(message_id="01800000-0000-7000-8000-000000000000"))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)
        assert await parked(service) == []
