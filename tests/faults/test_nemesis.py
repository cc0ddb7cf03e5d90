"""The means by which faults strike do what they say; the faults themselves are run by run.py."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.inventory import ReserveStock
from contracts.message import REGISTRY
from contracts.order import CartLine
from deploy.local.services import SERVICES, STRIPE
from deploy.local.stack import LocalStack
from services.kit.messages import Record, Unreadable, decode
from tests.faults.nemesis import FAULTS, fault
from tests.faults.network import Network, toxiproxy
from tests.faults.poison import POISONS
from tests.faults.records import Raw
from tests.messages import outgoing

# The first run builds toxiproxy.
pytestmark = pytest.mark.timeout(400)

WAY = "order-postgres"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    return LocalStack(tmp_path, linked=True)


@pytest.fixture(params=["toxiproxy", "builtin"])
async def network(request: pytest.FixtureRequest, stack: LocalStack) -> AsyncIterator[Network]:
    """Proxies with something that echoes behind one of them."""
    if request.param == "toxiproxy" and await asyncio.to_thread(toxiproxy) is None:
        pytest.skip("there is no Go to build toxiproxy with")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(100):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    (link,) = (link for link in stack.links() if link.name == WAY)
    server = await asyncio.start_server(echo, "127.0.0.1", link.upstream)
    network = Network(stack, builtin=request.param == "builtin")
    await asyncio.to_thread(network.start)
    yield network
    await asyncio.to_thread(network.stop)
    server.close()


@pytest.fixture
async def connection(stack: LocalStack, network: Network) -> AsyncIterator[Connection]:
    """To the server, over the proxy."""
    (link,) = (link for link in stack.links() if link.name == WAY)
    reader, writer = await asyncio.open_connection("127.0.0.1", link.listen)
    yield reader, writer
    writer.close()


async def answer(connection: Connection, word: bytes, *, within: float = 0.5) -> bytes | None:
    """What comes back; empty if the connection broke, None if nothing came in time."""
    reader, writer = connection
    try:
        writer.write(word)
        async with asyncio.timeout(within):
            return await reader.read(100)
    except TimeoutError:
        return None
    except ConnectionError:
        return b""


async def test_what_a_cut_holds_arrives_after_it(network: Network, connection: Connection) -> None:
    assert await answer(connection, b"before") == b"before"
    await network.cut(WAY)
    assert await answer(connection, b"meanwhile") is None
    assert await network.knock(WAY, within=0.3) is None
    await network.heal(WAY)
    assert (await answer(connection, b" after") or b"").startswith(b"meanwhile")
    assert await network.knock(WAY) is not None


async def test_a_reset_breaks_open_connections_and_new_ones(
    network: Network, connection: Connection
) -> None:
    assert await answer(connection, b"before") == b"before"
    await network.mute(WAY)
    assert await answer(connection, b"its answer is lost") is None
    await network.reset(WAY)
    assert await answer(connection, b"over") == b""
    assert await network.knock(WAY) is None
    await network.heal()
    assert await network.knock(WAY) is not None


async def test_a_slow_way_delays_each_direction(network: Network, connection: Connection) -> None:
    await network.slow(WAY, 0.2)
    began = time.monotonic()
    assert await answer(connection, b"slowly", within=5) == b"slowly"
    assert 0.4 <= time.monotonic() - began < 2


def test_every_address_that_a_service_is_told_is_a_link(stack: LocalStack) -> None:
    told = {
        int(port)
        for service in (*(service.name for service in SERVICES), STRIPE.name)
        for name, value in stack.addresses_for(service).items()
        if name != "HTTP_PORT"
        for port in re.findall(r"127\.0\.0\.1:(\d+)", value)
    }
    assert told == {link.listen for link in stack.links()}


@pytest.mark.parametrize("kind", POISONS)
def test_each_poison_is_refused_with_its_reason(kind: str) -> None:
    line = CartLine(product_id=uuid4(), quantity=1)
    sent = outgoing(ReserveStock(order_id=uuid4(), lines=(line,)))
    good = Raw(
        sent.topic, sent.key.encode(), tuple(sent.kafka_headers()), sent.payload.encode()
    ).decided_anew()
    assert good.is_message()
    make, reason = POISONS[kind]
    bad = make(good)
    assert not bad.is_message()
    key = bad.key.decode() if bad.key else None
    refused = decode(Record(bad.topic, 0, 0, key, bad.headers, bad.value), REGISTRY)
    assert isinstance(refused, Unreadable)
    assert reason in str(refused.error)


def test_two_faults_cannot_have_one_name() -> None:
    taken = next(iter(FAULTS.values()))
    with pytest.raises(ValueError, match=taken.name):
        fault(name=taken.name, row=taken.row)(taken.strike)
