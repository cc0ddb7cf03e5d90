"""The console on a port of its own: what is at the one port is not at the other."""

from collections.abc import AsyncIterator

import httpx
import pytest

from deploy.local.tokens import token
from services.ops.app import build
from services.ops.settings import OpsSettings
from tests.ops.conftest import Watch
from tests.ops.console.conftest import SECRET

API, CONSOLE = "http://127.0.0.1:8001", "http://127.0.0.1:8002"


@pytest.fixture
async def client(watch: Watch) -> AsyncIterator[httpx.AsyncClient]:
    """Of an admin, at both doors."""
    service, app = build(
        OpsSettings(
            database_url="postgresql://",
            kafka_bootstrap_servers="nobody:1",
            jwt_secret=SECRET,
            console_port=8002,
        )
    )
    service.pool = watch.pool
    headers = {"Authorization": f"Bearer {token(SECRET, 'naledi', 'admin')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=headers) as client:
        yield client


async def test_the_api_and_its_probes_are_at_their_port_only(client: httpx.AsyncClient) -> None:
    for path in ("/v1/orders", "/metrics", "/healthz", "/docs"):
        assert (await client.get(f"{API}{path}")).status_code == 200, path
        assert (await client.get(f"{CONSOLE}{path}")).status_code == 404, path


async def test_the_console_is_at_its_port_only(client: httpx.AsyncClient) -> None:
    for path in ("/console/sign-in", "/console/static/console.css"):
        assert (await client.get(f"{CONSOLE}{path}")).status_code == 200, path
        assert (await client.get(f"{API}{path}")).status_code == 404, path
    for path in ("/", "/console"):
        assert (await client.get(f"{CONSOLE}{path}")).headers["location"] == "/console/"
        assert (await client.get(f"{API}{path}")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/console/%2e%2e/v1/orders", "//v1/orders", "/consoles", "/Console/"]
)
async def test_no_spelling_leads_through_the_other_door(
    client: httpx.AsyncClient, path: str
) -> None:
    for door in (API, CONSOLE):
        url = httpx.URL(door).copy_with(raw_path=path.encode())
        assert (await client.get(url)).status_code == 404


async def test_a_header_is_no_door(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{CONSOLE}/v1/orders", headers={"Host": "127.0.0.1:8001"})
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/nothing", "/openapi.json"])
async def test_no_cache_keeps_what_the_api_says_and_no_browser_runs_it(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(f"{API}{path}")).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
