"""The producer behind a publisher: replaced when it fails, and only then."""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from contracts.order import CancelOrder
from deploy.local.stack import LocalStack
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from tests.kit.conftest import eventually


async def is_sent(publisher: Publisher, *, within: float = 10.0) -> bool:
    message = CancelOrder(order_id=uuid4(), requested_by="c1", reason="changed my mind")
    outgoing = Outgoing.of(message, source="test", time="2026-01-01T00:00:00Z")
    try:
        await publisher.publish([outgoing], within=within)
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
    first = await publisher._started()
    await first.stop()
    assert not await is_sent(publisher)
    assert await is_sent(publisher)
    second = await publisher._started()
    assert second is not first

    publisher._replace(first)
    assert await publisher._started() is second
    assert await is_sent(publisher)


async def test_a_producer_that_is_slow_is_not_replaced_and_a_silent_one_is(
    publisher: Publisher,
) -> None:
    first = await publisher._started()
    publisher._acknowledged_at = time.monotonic() + 60  # to somebody else, while this one waits
    assert not await is_sent(publisher, within=0)
    assert await publisher._started() is first

    publisher._acknowledged_at = 0
    assert not await is_sent(publisher, within=0)
    assert await publisher._started() is not first


async def test_a_start_goes_on_when_its_first_caller_has_no_time_left(
    publisher: Publisher,
) -> None:
    publisher._replace(await publisher._started())
    assert not await is_sent(publisher, within=0)
    async with asyncio.timeout(10):
        while publisher._producer is None:  # noqa: ASYNC110  # there is nothing to be woken by
            await asyncio.sleep(0.01)
