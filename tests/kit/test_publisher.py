"""The producer behind a publisher: replaced when it fails, and only then."""

from uuid import uuid4

from contracts.order import CancelOrder
from deploy.local.stack import LocalStack
from services.kit.errors import BrokerUnavailable
from services.kit.publisher import Publisher
from tests.kit.conftest import eventually


async def is_sent(publisher: Publisher) -> bool:
    try:
        await publisher.send(
            CancelOrder(order_id=uuid4(), requested_by="c1", reason="changed my mind")
        )
    except BrokerUnavailable:
        return False
    return True


async def test_a_failure_heard_late_does_not_cost_the_producer_that_came_after(
    servers: LocalStack,
) -> None:
    """Hundreds may be publishing when a broker dies, and hear of it one after the other. Without
    the protection each of them closes the producer that the others have just begun to use."""
    publisher = Publisher(servers.kafka, "test")

    async def sent() -> bool:
        return await is_sent(publisher)

    try:
        await eventually(sent, bool)  # a broker that has just started may not lead its topics yet
        first = await publisher._started()
        await first.stop()
        assert not await is_sent(publisher)
        assert await is_sent(publisher)
        second = await publisher._started()
        assert second is not first

        publisher._replace(first)
        assert await publisher._started() is second
        assert await is_sent(publisher)
    finally:
        await publisher.stop()
