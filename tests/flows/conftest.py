"""People at the shop, through HTTP on the running stack."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from deploy.local.shop import Shop
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
