"""Kafka or PostgreSQL away: what still works, and what the others are told."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from contracts.order import PlaceOrder
from deploy.local.stack import LocalStack
from tests.gateway.conftest import running_api, until
from tests.gateway.test_webhook import event, post


@pytest.fixture
async def own(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    """Servers that a test may kill."""
    # Short: PostgreSQL's socket lives in there.
    home: Path = tmp_path_factory.mktemp("away")
    stack = LocalStack(home)
    try:
        await asyncio.to_thread(stack.up_infrastructure)
        yield stack
    finally:
        await asyncio.to_thread(stack.clean)


async def test_kafka_away(own: LocalStack, customer: str) -> None:
    async with running_api(own.kafka, own.postgres["gateway"]) as api:
        await asyncio.to_thread(own.kill, "kafka")

        placed = await api.place(customer, key="k")
        assert placed.status_code == 202
        again = await api.place(customer, key="k", wait=1)
        assert again.json() == placed.json()

        began = asyncio.get_running_loop().time()
        refused = await post(api, json.dumps(event("o")))
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert asyncio.get_running_loop().time() - began < 6

        await asyncio.to_thread(own.start, "kafka")
        order_id = UUID(placed.json()["order_id"])

        async def is_sent() -> bool:
            return bool(api.other_side.all(PlaceOrder, order_id))

        await until(is_sent, seconds=60)


async def test_postgresql_away(own: LocalStack, customer: str) -> None:
    async with running_api(own.kafka, own.postgres["gateway"]) as api:
        placed = await api.place(customer, key="k")
        await asyncio.to_thread(own.kill, "postgres")

        path = placed.headers["Location"]
        for refused in (
            await api.place(customer),
            await api.place(customer, wait=1),
            await api.http.get(path, headers=api.bearer(customer)),
            await api.http.get("/v1/products"),
        ):
            assert refused.status_code == 503
            assert refused.headers["Retry-After"]
            assert refused.headers["content-type"] == "application/problem+json"
        # Nothing of Stripe's is lost meanwhile: the webhook door needs no database.
        assert (await post(api, json.dumps(event("o")))).status_code == 200

        await asyncio.to_thread(own.start, "postgres")

        async def is_back() -> bool:
            return (await api.http.get(path, headers=api.bearer(customer))).is_success

        await until(is_back, seconds=30)
        assert (await api.place(customer, key="k")).json() == placed.json()
