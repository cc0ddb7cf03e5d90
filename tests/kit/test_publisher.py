"""The producer behind a publisher: replaced when it fails, and only then."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka import TopicPartition

from contracts.order import CancelOrder
from deploy.local.stack import LocalStack
from services.kit import producer as producer_module
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.outcome import Outcome
from services.kit.partitioner import hash_of
from services.kit.publisher import Publisher
from tests.kit.conftest import eventually


async def is_sent(publisher: Publisher, *, within: float = 10.0) -> bool:
    try:
        await publisher.publish([cancelling()], within=within)
    except BrokerUnavailable:
        return False
    return True


@pytest.fixture
async def publisher(servers: LocalStack) -> AsyncIterator[Publisher]:
    publisher = Publisher(servers.kafka, "test")

    async def sent() -> bool:
        return await is_sent(publisher)

    await eventually(sent, bool)  # a broker that has just started may not lead its topics yet
    yield publisher
    await publisher.stop()


async def test_a_failure_heard_late_does_not_cost_the_producer_that_came_after(
    publisher: Publisher,
) -> None:
    """Hundreds may be publishing when a broker dies, and hear of it one after the other. Without
    the protection each of them closes the producer that the others have just begun to use."""
    first = await publisher._main.started()
    await first.stop()
    assert not await is_sent(publisher)
    assert await is_sent(publisher)
    second = await publisher._main.started()
    assert second is not first

    publisher._main.replace(first)
    assert await publisher._main.started() is second
    assert await is_sent(publisher)


async def test_a_producer_that_is_silent_is_replaced_and_closed_in_bounded_time(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idempotent aiokafka producer never gives up a batch: left to itself, the old one would
    publish it again when newer messages of the key are on the topic."""
    monkeypatch.setattr(producer_module, "_TO_FLUSH", 0.1)
    first = await publisher._main.started()
    await first.partitions_for(CancelOrder.topic.name)
    # Its batches are never sent, as if their partition had no leader.
    first._sender._muted_partitions.update(
        TopicPartition(CancelOrder.topic.name, number) for number in range(12)
    )
    assert not await is_sent(publisher, within=0.5)
    await publisher._main.closed(within=10)
    assert first._closed
    assert first._sender.sender_task.done()
    assert await publisher._main.started() is not first
    assert await is_sent(publisher)


async def test_a_partition_that_is_stuck_is_left_and_others_are_acknowledged(
    publisher: Publisher,
) -> None:
    """What is left is a whole partition, in its order. Until it is tried again, nothing more is
    handed to it, and nobody waits for it."""
    topic = CancelOrder.topic.name
    first = await publisher._main.started()
    stuck = TopicPartition(topic, sorted(await first.partitions_for(topic))[3])
    first._sender._muted_partitions.add(stuck)  # as if it had no leader
    messages = [cancelling() for _ in range(60)]
    while not (theirs := [m for m in messages if hash_of(m.key) % 12 == 3]):
        messages.append(cancelling())  # by chance none of the first 60 keys belongs there

    outcome = Outcome()
    await publisher.attempt(messages, outcome)
    assert outcome.left == {stuck: theirs}
    assert outcome.refused == []

    again = Outcome()
    await publisher.attempt(messages, again, held={stuck})
    assert again.left == {stuck: theirs}
    assert publisher.due([stuck, TopicPartition(topic, 4)]) >= {TopicPartition(topic, 4)}

    async def taken() -> bool:
        last = Outcome()
        await publisher.attempt(theirs, last)
        return not last.count

    await eventually(taken, bool)  # by the second producer: the first is gone with what it held


def cancelling() -> Outgoing:
    message = CancelOrder(order_id=uuid4(), requested_by="c1", reason="changed my mind")
    return Outgoing.of(message, source="test", time="2026-01-01T00:00:00Z")


async def test_a_start_goes_on_when_its_first_caller_has_no_time_left(
    publisher: Publisher,
) -> None:
    publisher._main.replace(await publisher._main.started())
    assert not await is_sent(publisher, within=0)
    async with asyncio.timeout(10):
        while publisher._main.current is None:  # noqa: ASYNC110  # there is nothing to be woken by
            await asyncio.sleep(0.01)
