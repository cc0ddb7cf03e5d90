"""One stand-in for most tests, and a webhook endpoint for each that wants one."""

from collections.abc import AsyncIterator

import pytest

from tests.standin.process import StandinProcess, running
from tests.standin.receiver import Receiver, listening


@pytest.fixture(scope="session")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StandinProcess]:
    async with running(tmp_path_factory.mktemp("standin") / "stripe.sqlite3") as process:
        yield process


@pytest.fixture
async def standin(shared: StandinProcess) -> AsyncIterator[StandinProcess]:
    """The stand-in that the tests share; every test finds it without faults."""
    yield shared
    await shared.control("DELETE", "/faults")


@pytest.fixture
async def hooks(standin: StandinProcess) -> AsyncIterator[Receiver]:
    """A webhook endpoint that gets every event from now on."""
    async with listening(Receiver()) as receiver:
        endpoint = await standin.client.v1.webhook_endpoints.create_async(
            {"url": receiver.url, "enabled_events": ["*"]}
        )
        assert endpoint.secret
        receiver.secret = endpoint.secret
        yield receiver
        await standin.client.v1.webhook_endpoints.delete_async(endpoint.id)
