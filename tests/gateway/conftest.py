"""A gateway in this process, over real PostgreSQL and Kafka."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn

from contracts.order import OrderUpdated
from deploy.local.stack import LocalStack
from deploy.local.tokens import token
from services.gateway.app import build
from services.gateway.settings import Settings
from services.kit.service import Service
from tests.gateway.other_side import PATIENCE, OtherSide

JWT_SECRET = "a secret that only tests know, 32+"
WEBHOOK_SECRET = "whsec_new"
OLD_WEBHOOK_SECRET = "whsec_old"


async def until(is_so: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Return when it is so; there is nothing to be woken by."""
    async with asyncio.timeout(seconds):
        while not await is_so():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@dataclass
class Api:
    """The running gateway and a client of it."""

    service: Service
    http: httpx.AsyncClient
    other_side: OtherSide

    def bearer(self, customer: str, *roles: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(JWT_SECRET, customer, *roles)}"}

    async def place(
        self,
        customer: str,
        body: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        wait: int | None = None,
    ) -> httpx.Response:
        headers = self.bearer(customer) | {"Idempotency-Key": key or uuid4().hex}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        return await self.http.post("/v1/orders", json=body or cart(), headers=headers)

    async def shows(self, told: OrderUpdated) -> OrderUpdated:
        """Tell the gateway of an order and return when its view has it."""
        await self.other_side.say(told)

        async def is_shown() -> bool:
            version = await self.service.pool.fetchval(
                "SELECT version FROM orders WHERE order_id = $1", told.order_id
            )
            return version is not None and version >= told.version

        await until(is_shown)
        return told


def cart(**fields: Any) -> dict[str, Any]:
    line = {"product_id": "0190a6f2-7c3e-7b1a-9f57-3f1f6a1c2b11", "quantity": 2}
    return {"items": [line], "email": "thandi@example.com"} | fields


@asynccontextmanager
async def running_gateway(
    kafka: str, dsn: str, **changed: Any
) -> AsyncIterator[tuple[Service, str]]:
    """`changed`: settings that are not as in the other tests."""
    given: dict[str, Any] = {
        "database_url": dsn,
        "kafka_bootstrap_servers": kafka,
        "jwt_secret": JWT_SECRET,
        "stripe_webhook_secret": f"{WEBHOOK_SECRET},{OLD_WEBHOOK_SECRET}",
    }
    service, app = build(Settings(**given | changed))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    serving = asyncio.create_task(server._serve([listening]))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        async with httpx.AsyncClient(trust_env=False) as probe:

            async def is_ready() -> bool:
                assert not serving.done(), "the gateway did not start"
                return await _ready(probe, url)

            await until(is_ready, seconds=30)
        yield service, url
    finally:
        server.should_exit = True
        await serving
        listening.close()


async def _ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/readyz")).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def running_api(kafka: str, dsn: str) -> AsyncIterator[Api]:
    other_side = OtherSide(kafka)
    await other_side.start()
    try:
        async with (
            running_gateway(kafka, dsn) as (service, url),
            httpx.AsyncClient(base_url=url, timeout=40, trust_env=False) as client,
        ):
            yield Api(service, client, other_side)
    finally:
        await other_side.stop()


@pytest.fixture(scope="session")
async def api(servers: LocalStack) -> AsyncIterator[Api]:
    dsn = servers.create_database(f"gateway_{uuid4().hex[:12]}")
    async with running_api(servers.kafka, dsn) as running:
        yield running


@pytest.fixture
def customer() -> str:
    return f"customer-{uuid4().hex[:8]}"
