"""People at the shop, through HTTP on the running stack."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from deploy.local.shop import Json, Shop
from deploy.local.stack import LocalStack


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=40) as opened:
        yield opened


@pytest.fixture
def staff(stack: LocalStack, client: httpx.AsyncClient) -> Shop:
    return Shop(
        client,
        gateway=stack.gateway,
        stripe=stack.stripe,
        token=stack.token(f"staff-{uuid4().hex[:6]}", "admin"),
    )


@pytest.fixture
def anna(stack: LocalStack, staff: Shop) -> Shop:
    """A customer whom nobody has seen before."""
    return staff.as_(stack.token(f"anna-{uuid4().hex[:6]}"))


async def stock(shop: Shop, product: str) -> int:
    return int((await shop.product(product))["stock_quantity"])


async def stock_becomes(shop: Shop, product: str, expected: int) -> None:
    deadline = time.monotonic() + 20
    while (seen := await stock(shop, product)) != expected:
        assert time.monotonic() < deadline, f"stock is {seen}, not {expected}"
        await asyncio.sleep(0.05)


async def ordered(shop: Shop, product: str, quantity: int = 1) -> Json:
    placed = await shop.place(product, quantity)
    assert placed.order is not None, placed.messages
    return placed.order


async def becomes(shop: Shop, order: Json, **expected: Any) -> Json:
    def good(seen: Json) -> bool:
        return all(seen[name] == value for name, value in expected.items())

    seen = await shop.order_when(order["order_id"], good, 20)
    assert good(seen), {name: seen[name] for name in expected}
    return seen
