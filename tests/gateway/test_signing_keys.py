"""A gateway whose identity provider hangs: customers with known keys are served all the same."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from deploy.local.stack import LocalStack
from services.kit import published_keys
from tests.gateway.conftest import running_gateway
from tests.kit.identity_provider import IdentityProvider, running_provider
from tests.kit.test_published_keys import until_called

REQUESTS_AT_ONCE = 10


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with running_provider() as running:
        yield running


async def test_a_hanging_provider_stops_no_request_with_a_known_key(
    servers: LocalStack, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_keys, "_ON_DEMAND_PAUSE_SECONDS", 0.0)
    dsn = servers.create_database(f"gateway_{uuid4().hex[:12]}")
    changed = {"jwt_secret": None, "jwks_url": provider.url, "jwks_max_age_seconds": 60.0}
    async with (
        running_gateway(servers.kafka, dsn, **changed) as (_service, url),
        httpx.AsyncClient(base_url=url, timeout=40, trust_env=False) as client,
    ):

        async def orders(key_id: str) -> int:
            bearer = {"Authorization": f"Bearer {provider.token(key_id)}"}
            return (await client.get("/v1/orders", headers=bearer)).status_code

        assert await orders("k1") == 200
        provider.answers.clear()
        # More than the gateway works on at once; the provider gives none of them an answer.
        unknown = [asyncio.create_task(orders(f"k{n}")) for n in range(2, 2 + 3 * REQUESTS_AT_ONCE)]
        await until_called(provider)
        assert await asyncio.gather(*(orders("k1") for _ in range(20))) == [200] * 20
        assert not provider.answers.is_set()
        assert set(await asyncio.gather(*unknown)) == {503}


async def test_the_gateway_refreshes_keys_without_requests(
    servers: LocalStack, provider: IdentityProvider
) -> None:
    dsn = servers.create_database(f"gateway_{uuid4().hex[:12]}")
    changed = {"jwt_secret": None, "jwks_url": provider.url, "jwks_max_age_seconds": 0.4}
    async with running_gateway(servers.kafka, dsn, **changed):
        await until_called(provider, 3)
