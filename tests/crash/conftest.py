"""A system that is beaten, and the customers who use it meanwhile."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from deploy.local.shop import Shop, ShopError
from deploy.local.stack import LocalStack
from tests.stack import running_stack

# Impatient, so that what a crash interrupts goes on within seconds.
IMPATIENT = {
    "STEP_TIMEOUT_SECONDS": "2",
    "OUTBOX_LEASE_SECONDS": "1",
    "SESSION_TIMEOUT_SECONDS": "6",
}


class NotYetError(Exception):
    """The shop asks to come back in a moment."""


class Customers:
    """They order, pay, are declined or cancel; what fails for lack of an answer is tried again."""

    def __init__(self, stack: LocalStack, client: httpx.AsyncClient, product: str) -> None:
        self.stack = stack
        self.client = client
        self.product = product
        self.acknowledged: set[str] = set()
        self.staff = self.shop("staff", "admin")

    def shop(self, name: str, *roles: str) -> Shop:
        return Shop(
            self.client,
            gateway=self.stack.gateway,
            stripe=self.stack.stripe,
            token=self.stack.token(name, *roles),
        )

    async def come(self, count: int, *, pause: float = 0.0, seed: int = 1) -> None:
        """So many customers, one after the other or all at once."""
        rng = random.Random(seed)
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                what = rng.choice(["pay", "pay", "decline", "cancel", "pay and cancel"])
                group.create_task(self._one(f"customer-{seed}-{number}", what))
                await asyncio.sleep(pause)

    async def _one(self, name: str, what: str) -> None:
        shop = self.shop(name)
        order = await self._patiently(lambda: self._place(shop, name))
        if order is None or order.get("payment") is None:
            return
        if what.startswith("pay"):
            await self._patiently(lambda: shop.pay(order, "pm_card_visa"))
        if what == "decline":
            await self._patiently(lambda: shop.pay(order, "pm_card_chargeDeclined"))
        if what.endswith("cancel"):
            await self._patiently(lambda: shop.cancel(order["order_id"], "changed my mind"))

    async def _place(self, shop: Shop, key: str) -> Any:
        """With one key for all tries, as a good shop page does; 202 counts as told, too."""
        answer = await self.client.post(
            f"{self.stack.gateway}/v1/orders",
            json={"items": [{"product_id": self.product, "quantity": 1}], "email": "a@example.com"},
            headers={
                "Authorization": f"Bearer {self.stack.token(key)}",
                "Idempotency-Key": key,
                "Prefer": "wait=10",
            },
        )
        if answer.status_code in (409, 503):
            raise NotYetError(answer.text)
        assert answer.status_code in (201, 202), answer.text
        self.acknowledged.add(answer.json()["order_id"])
        return answer.json()

    async def _patiently(self, call: Any) -> Any:
        """Try again while nobody answers; an order that is over by then is fine, too."""
        for _ in range(120):
            try:
                return await call()
            except (httpx.TransportError, NotYetError, ShopError) as error:
                if isinstance(error, ShopError) and (
                    ": 409" in str(error) or ": 400" in str(error)
                ):
                    return None
                await asyncio.sleep(0.25)
        return None


@pytest.fixture(scope="package")
def beaten() -> Iterator[LocalStack]:
    with running_stack(env=IMPATIENT) as stack:
        yield stack


@pytest.fixture
async def customers(beaten: LocalStack) -> AsyncIterator[Customers]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        made = Customers(beaten, client, "")
        made.product = await made.staff.add_product("Print", price=12000, stock=100_000)
        yield made
