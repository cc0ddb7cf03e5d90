"""The shop as its customers and staff reach it: the gateway's HTTP API, and paying at Stripe.

Nothing here knows more than a storefront would. Money is in minor units.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self
from uuid import uuid4

import httpx

Json = dict[str, Any]

# The stand-in takes any test key; a real storefront uses the account's own.
PUBLISHABLE_KEY = "pk_test_local"
SECONDS_BETWEEN_LOOKS = 0.1


class Site(Protocol):
    """A running system, wherever its processes are."""

    @property
    def gateway(self) -> str:
        """The HTTP address of the shop's API."""

    @property
    def stripe(self) -> str:
        """The HTTP address of the Stripe stand-in."""

    @property
    def stripe_key(self) -> str:
        """The secret key of the shop's account there."""

    @property
    def where_logs_are(self) -> str:
        """For a person to read."""

    def token(self, customer: str, *roles: str) -> str:
        """A bearer token for the gateway."""

    async def mail_ids(self, client: httpx.AsyncClient, order: str) -> list[str]:
        """The Message-IDs of the mails about an order, oldest first."""


class ShopError(Exception):
    """The shop answered something that the caller did not expect."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What the shop said to an order: the order, or the messages of its refusal."""

    order: Json | None
    messages: tuple[str, ...] = ()


class Shop:
    """One person at the shop: a customer, or staff if the token says so.

    Raises ShopError for an answer that is neither success nor a documented refusal, and
    httpx.TransportError if nobody answers.
    """

    def __init__(self, client: httpx.AsyncClient, *, gateway: str, stripe: str, token: str) -> None:
        self._client = client
        self._gateway = gateway
        self._stripe = stripe
        self._headers = {"Authorization": f"Bearer {token}"}

    def as_(self, token: str) -> Self:
        """Another person at the same shop."""
        return type(self)(self._client, gateway=self._gateway, stripe=self._stripe, token=token)

    # -- staff -----------------------------------------------------------------------------

    async def add_product(self, name: str, *, price: int, stock: int) -> str:
        """Puts a product with its opening stock into the catalogue; returns its id."""
        product = str(uuid4())
        await self._call(
            "PUT",
            f"/v1/admin/products/{product}",
            {"name": name, "price": price, "currency": "zar", "available": True},
        )
        await self._call(
            "POST",
            f"/v1/admin/products/{product}/stock",
            {"delta": stock, "reason": "opening stock"},
        )
        return product

    async def cancel_as_staff(self, order: str, reason: str) -> None:
        """Cancels an order, whether it is paid or not."""
        body = {"status": "cancelled", "reason": reason}
        await self._call("PATCH", f"/v1/admin/orders/{order}/status", body)

    # -- customers -------------------------------------------------------------------------

    async def product(self, product: str) -> Json:
        """The product as the catalogue shows it."""
        return await self._call("GET", f"/v1/products/{product}")

    async def place(self, product: str, quantity: int, *, wait: int = 20) -> Placed:
        """Orders a product and waits up to `wait` seconds for the shop's decision."""
        answer = await self._client.post(
            f"{self._gateway}/v1/orders",
            json={
                "items": [{"product_id": product, "quantity": quantity}],
                "email": "customer@example.com",
            },
            headers={
                **self._headers,
                "Idempotency-Key": str(uuid4()),
                "Prefer": f"wait={wait}",
            },
        )
        if answer.status_code == httpx.codes.BAD_REQUEST:
            return Placed(None, tuple(error["message"] for error in answer.json()["errors"]))
        if answer.status_code != httpx.codes.CREATED:
            raise ShopError(f"placing an order: {answer.status_code} {answer.text}")
        return Placed(answer.json())

    async def order(self, order: str) -> Json:
        """An order of this person, or anybody's if this is staff."""
        return await self._call("GET", f"/v1/orders/{order}")

    async def order_when(self, order: str, wanted: Callable[[Json], bool], seconds: float) -> Json:
        """The order as soon as it is as wanted, or as it is when the seconds are over."""
        deadline = time.monotonic() + seconds
        while True:
            seen = await self.order(order)
            if wanted(seen) or time.monotonic() > deadline:
                return seen
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def cancel(self, order: str, reason: str) -> None:
        """Cancels an order of one's own."""
        await self._call("POST", f"/v1/orders/{order}/cancellation", {"reason": reason})

    async def pay(self, order: Json, payment_method: str) -> bool:
        """Pays at Stripe as its browser library does; False if the card is declined."""
        payment = order["payment"]
        answer = await self._client.post(
            f"{self._stripe}/v1/payment_intents/{payment['payment_intent_id']}/confirm",
            data={"client_secret": payment["client_secret"], "payment_method": payment_method},
            headers={"Authorization": f"Bearer {PUBLISHABLE_KEY}"},
        )
        if answer.status_code not in (httpx.codes.OK, httpx.codes.PAYMENT_REQUIRED):
            raise ShopError(f"paying: {answer.status_code} {answer.text}")
        return answer.status_code == httpx.codes.OK

    async def kept_at_stripe(self, order: Json, secret_key: str) -> int:
        """The money that Stripe holds for an order: received less refunded."""
        answer = await self._client.get(
            f"{self._stripe}/v1/payment_intents/{order['payment']['payment_intent_id']}",
            params={"expand[]": "latest_charge"},
            headers={"Authorization": f"Bearer {secret_key}"},
        )
        if not answer.is_success:
            raise ShopError(f"asking Stripe for a payment: {answer.status_code} {answer.text}")
        intent = answer.json()
        refunded = (intent["latest_charge"] or {}).get("amount_refunded", 0)
        return int(intent["amount_received"] - refunded)

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        answer = await self._client.request(
            method, f"{self._gateway}{path}", json=body, headers=self._headers
        )
        if not answer.is_success:
            raise ShopError(f"{method} {path}: {answer.status_code} {answer.text}")
        found: Json = answer.json() if answer.content else {}
        return found
