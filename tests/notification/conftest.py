"""The notification service as a process, its mail sink, and somebody who sends it messages."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest

from contracts.customer import ContactGiven
from contracts.message import Message
from deploy.local.services import SMTP
from deploy.local.stack import LocalStack
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from tests.kit.conftest import eventually
from tests.looking import rows
from tests.messages import outgoing

IMPATIENT = {"SMTP_TIMEOUT_SECONDS": "1", "SESSION_TIMEOUT_SECONDS": "6"}
"""The lease of a mail is four seconds then; the group forgets a killed member after six."""


class Post:
    """What goes in as messages and comes out as mail."""

    def __init__(self, servers: LocalStack, client: httpx.AsyncClient) -> None:
        self.servers = servers
        self._client = client
        self._publisher = Publisher(servers.kafka, "test")

    async def hear(self, *messages: Message, twice: bool = False) -> None:
        """Publish messages; `twice` decides each again under another id, and repeats each."""
        made = [outgoing(message) for message in messages]
        if twice:
            made += [*made, *(outgoing(message) for message in messages)]
        await self.publish(*made)

    async def publish(self, *made: Outgoing) -> None:
        await self._publisher.publish(made)

    async def mails(self, order_id: UUID) -> Sequence[dict[str, Any]]:
        """What the sink got for an order, oldest first."""
        url = f"{self.servers.url(SMTP.name)}/mails?about={order_id}"
        return list(reversed((await self._client.get(url)).json()))

    async def names(self, order_id: UUID) -> Counter[str]:
        """The same as `kind.number`, counted."""
        return Counter(
            mail["message_id"].partition("@")[0].partition(".")[2]
            for mail in await self.mails(order_id)
        )

    async def get(self, order_id: UUID, expected: Sequence[str]) -> None:
        """Wait until the sink has these mails of the order, each once, and nothing is left."""
        await eventually(lambda: self.names(order_id), lambda seen: bool(seen == Counter(expected)))
        await self.states(order_id, {"sent": len(expected)})

    async def states(self, order_id: UUID, expected: dict[str, int]) -> None:
        """Wait until the queue has so many of the order's mails in each state."""

        async def counted() -> dict[str, int]:
            query = "SELECT state, count(*) FROM mails WHERE order_id = $1 GROUP BY 1"
            found = await rows(self.servers, "notification", query, order_id)
            return {row["state"]: row["count"] for row in found}

        await eventually(counted, lambda seen: bool(seen == expected))

    async def close(self) -> None:
        await self._publisher.stop()


def contact(order_id: UUID, email: str = "anna@example.com") -> ContactGiven:
    return ContactGiven(order_id=order_id, customer_id="anna", email=email)


@pytest.fixture(scope="session")
def notification(servers: LocalStack) -> LocalStack:
    """Kafka, PostgreSQL, the sink and the service."""
    servers.start("smtp")
    servers.start("notification", env=IMPATIENT)
    return servers


@pytest.fixture
async def post(notification: LocalStack) -> AsyncIterator[Post]:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        made = Post(notification, client)
        yield made
        await made.close()
