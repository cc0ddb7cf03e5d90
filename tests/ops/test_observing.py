"""Whatever is on a topic is noted, and nothing that it holds stops the ops service."""

import random
from datetime import UTC, datetime
from uuid import UUID, uuid4

from contracts.dead_letters import MessageParked, OperationAnswered, ParkedMessageChanged
from contracts.inventory import ReserveStock, RestoreStock
from contracts.message import new_message_id
from contracts.order import CartLine
from services.kit.messages import storable
from services.ops.store.letters import find_letters, list_causes, list_letters
from services.ops.store.operations import find_operations, insert_operations
from tests.messages import outgoing
from tests.ops.conftest import Watch, history

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


async def timeline(watch: Watch) -> list[tuple[str | None, str]]:
    rows = await watch.owner.fetch('SELECT type, summary FROM messages ORDER BY "offset"')
    return [(row["type"], row["summary"]) for row in rows]


async def parked_here(watch: Watch) -> int:
    found: int = await watch.owner.fetchval("SELECT count(*) FROM parked_messages")
    return found


async def test_what_cannot_be_read_is_noted_and_not_parked(watch: Watch) -> None:
    good = outgoing(RestoreStock(order_id=uuid4(), reason="x"))
    headers = tuple(good.kafka_headers())
    newer = tuple((n, b"shop.no-such.v9" if n == "ce_type" else v) for n, v in headers)
    await watch.hears(
        watch.record(good, value=b'{"order_id": '),
        watch.record(outgoing(RestoreStock(order_id=uuid4(), reason="y")), value=None),
        watch.record(good, headers=newer),
        watch.record(good, headers=(), key=None),
        watch.record(good, headers=(), key=random.Random(1).randbytes(50_000).hex()),
        watch.record(outgoing(history()[0]), value=b"\x00"),
        watch.record(outgoing(RestoreStock(order_id=uuid4(), reason="a\x00b"))),
        *history(),
    )
    told = await timeline(watch)
    assert len(told) == 9  # the third has the id of the first
    assert [summary.split(":")[0] for _, summary in told[:5]] == ["unreadable"] * 5
    assert told[5] == ("inventory.restore-stock.v1", "reason 'a\\x00b'")
    assert await parked_here(watch) == 0
    assert storable("\x00") not in str(told)


async def test_what_the_observer_itself_cannot_take_is_parked_alone(watch: Watch) -> None:
    await watch.owner.execute(
        """
        ALTER TABLE messages ADD CONSTRAINT broken CHECK (summary NOT LIKE '%impossible%');
        """
    )
    await watch.hears(
        *history(),
        RestoreStock(order_id=uuid4(), reason="impossible"),
        RestoreStock(order_id=uuid4(), reason="possible"),
    )
    assert len(await timeline(watch)) == 4
    assert await parked_here(watch) == 1


async def test_a_cause_is_kept_as_a_link(watch: Watch) -> None:
    order_id, cause = uuid4(), new_message_id()
    line = CartLine(product_id=uuid4(), quantity=1)
    sent = outgoing(ReserveStock(order_id=order_id, lines=(line,)))
    await watch.hears(sent._replace(causation_id=str(cause), correlation_id=str(order_id)))
    await watch.hears(
        outgoing(RestoreStock(order_id=order_id, reason="x"))._replace(causation_id="no uuid")
    )
    rows = await watch.owner.fetch(
        'SELECT causation_id, correlation_id FROM messages ORDER BY "offset"'
    )
    assert [row["causation_id"] for row in rows] == [cause, None]
    assert {row["correlation_id"] for row in rows} == {str(order_id)}


def letter(parked_id: int, **changes: object) -> MessageParked:
    order_id = str(uuid4())
    told = {
        "service": "payment",
        "parked_id": parked_id,
        "state": "parked",
        "message_id": new_message_id(),
        "message_type": "payment.cancel-payment.v1",
        "source_topic": "payment.commands",
        "source_partition": 3,
        "source_offset": parked_id,
        "source_key": order_id,
        "reason": f"there is no payment of order {order_id}",
        "attempts": 1,
        "parked_at": NOW,
    }
    return MessageParked.model_validate(told | changes)


def change(of: MessageParked, version: int, state: str, **changes: object) -> ParkedMessageChanged:
    kept = of.model_dump(
        include={
            "service",
            "parked_id",
            "source_topic",
            "source_partition",
            "source_key",
            "reason",
            "attempts",
        }
    )
    told = kept | {"version": version, "state": state, "at": NOW}
    return ParkedMessageChanged.model_validate(told | changes)


async def test_parked_messages_of_one_cause_are_one_group(watch: Watch) -> None:
    letters = [letter(number) for number in range(1, 4)]
    behind = letter(4, state="waiting", source_key=letters[0].source_key)
    other = letter(5, reason="a live mode event")
    await watch.hears(*letters, behind, other)
    causes = {row["cause"]: row for row in await list_causes(watch.pool)}
    assert causes["there is no payment of order ..."]["messages"] == 3
    assert causes["there is no payment of order ..."]["waiting"] == 1
    assert causes["a live mode event"]["waiting"] == 0


async def test_parking_leads_back_to_what_was_parked(watch: Watch) -> None:
    parked = letter(17)
    await watch.hears(parked)
    assert await watch.owner.fetchval("SELECT causation_id FROM messages") == parked.message_id


async def test_a_change_that_is_heard_before_the_parking_stays(watch: Watch) -> None:
    parked = letter(17)
    await watch.hears(change(parked, 3, "replayed"))
    await watch.hears(change(parked, 2, "replay"))
    await watch.hears(parked)
    (row,) = await find_letters(watch.owner, [("payment", 17)])
    assert (row["state"], row["version"], row["source_offset"]) == ("replayed", 3, 17)
    assert await list_letters(watch.pool, None, False, ("", 0), 10) == []


async def test_an_operation_has_its_answer_and_its_outcome(watch: Watch) -> None:
    parked, asked = letter(17), new_message_id()

    async def ask(operation_id: UUID) -> set[UUID]:
        row = (operation_id, "replay", "payment", 17, 1, "o", "naledi", "mended", NOW)
        async with watch.pool.acquire() as db:
            return await insert_operations(db, [row])

    assert await ask(asked) == {asked}
    assert await ask(new_message_id()) == set()  # the first is under way
    answer = OperationAnswered(
        **parked.model_dump(
            include={"service", "parked_id", "source_topic", "source_partition", "source_key"}
        ),
        operation_id=asked,
    )
    failed = change(parked, 3, "parked", attempts=2, operation_id=asked)
    await watch.hears(parked, change(parked, 2, "replay", operation_id=asked), failed, answer)
    (done,) = await find_operations(watch.pool, [asked])
    assert (done["problem"], done["outcome"]) == (None, "parked")
    assert done["outcome_reason"] == parked.reason
    assert len(await ask(new_message_id())) == 1


async def test_a_saga_waits_since_the_change_that_led_there(watch: Watch) -> None:
    first, second, third = history()
    later = third.model_copy(
        update={"old_status": second.new_status, "new_status": second.new_status}
    )
    await watch.hears(first)
    await watch.hears(second)
    await watch.hears(later)
    row = await watch.owner.fetchrow("SELECT saga_state, saga_since, audit_version FROM orders")
    assert row is not None
    assert (row["saga_state"], row["saga_since"], row["audit_version"]) == (
        "confirmed",
        second.at,
        3,
    )
