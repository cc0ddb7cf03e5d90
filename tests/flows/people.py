"""Who acts in the stories: people at the shop's door, a colleague at Stripe's dashboard."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

import httpx
from stripe import WebhookSignature

from deploy.local.shop import Json, Shop
from deploy.local.stack import LocalStack

EMAIL = "customer@example.com"


class Person(Shop):
    """Somebody at the shop, who also takes the answers that `Shop` raises for."""

    async def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Any request, any answer."""
        return await self._client.request(
            method, f"{self._gateway}{path}", json=body, headers=self._headers | (headers or {})
        )

    async def check_out(
        self,
        items: list[Json],
        *,
        key: str | None = None,
        wait: int | None = 20,
        **more: Any,
    ) -> httpx.Response:
        """Place an order of several lines; `wait` None asks for no decision."""
        headers = {"Idempotency-Key": key or str(uuid4())}
        if wait is not None:
            headers["Prefer"] = f"wait={wait}"
        body = {"items": items, "email": EMAIL, **more}
        return await self.ask("POST", "/v1/orders", body, headers)

    async def check_cart(self, items: list[Json]) -> Json:
        return await self._call("POST", "/v1/carts/validation", {"items": items})

    # -- staff -----------------------------------------------------------------------------

    async def set_status(self, order: Json, status: str, reason: str = "next step") -> None:
        path = f"/v1/admin/orders/{order['order_id']}/status"
        await self._call("PATCH", path, {"status": status, "reason": reason})

    async def refund(self, order: Json, **how: Any) -> None:
        """All that is left, unless `amount` says how much; `restock` as the API has it."""
        path = f"/v1/admin/orders/{order['order_id']}/refund"
        await self._call("POST", path, {"reason": "sent back"} | how)

    async def remove_product(self, product: str) -> None:
        await self._call("DELETE", f"/v1/admin/products/{product}")


class Dashboard:
    """Stripe, to those who hold the secret key, and the stand-in's controls."""

    def __init__(self, stack: LocalStack, client: httpx.AsyncClient) -> None:
        self._client = client
        self._url = stack.stripe
        self._webhook_url = f"{stack.gateway}/v1/stripe/webhook"
        self._webhook_secret = stack.webhook_secret
        self._key = stack.environment_of("payment")["STRIPE_SECRET_KEY"]

    async def try_api(self, method: str, path: str, **form: str) -> httpx.Response:
        """A call of Stripe's API below /v1/, any answer."""
        headers = {"Authorization": f"Bearer {self._key}"}
        return await self._client.request(
            method, f"{self._url}/v1/{path}", data=form, headers=headers
        )

    async def api(self, method: str, path: str, **form: str) -> Json:
        """A call that must succeed."""
        found: Json = (await self.try_api(method, path, **form)).raise_for_status().json()
        return found

    async def intent(self, order: Json) -> Json:
        return await self.api("GET", f"payment_intents/{order['payment']['payment_intent_id']}")

    async def ledger(self, order: Json) -> Json:
        """What really happened to the money of an order, which has one intent."""
        found = await self.control("GET", f"ledger?order_id={order['order_id']}")
        (entry,) = found["data"]
        return dict(entry)

    async def kept(self, order: Json) -> int:
        entry = await self.ledger(order)
        return int(entry["amount_received"] - entry["amount_refunded"])

    async def control(self, method: str, path: str, body: Json | None = None) -> Any:
        answer = await self._client.request(method, f"{self._url}/_control/{path}", json=body)
        return answer.raise_for_status().json()

    async def fault(self, kind: str, **fault: Any) -> None:
        await self.control("POST", "faults", {"kind": kind} | fault)

    async def release(self) -> None:
        """Sends the webhooks that are held back."""
        await self.control("POST", "webhooks/release", {})

    async def owes(self) -> int:
        """Webhooks not delivered yet, those that are held back aside."""
        webhooks = (await self.control("GET", "requests"))["webhooks"]
        return int(webhooks["due"] + webhooks["sending"])

    # -- what only a forger or a test sends --------------------------------------------------

    async def post(self, payload: str | bytes, signature: str | None) -> httpx.Response:
        """A webhook as it is, with whatever signature."""
        headers = {} if signature is None else {"Stripe-Signature": signature}
        return await self._client.post(self._webhook_url, content=payload, headers=headers)

    async def send(self, event: Json, **signature: Any) -> httpx.Response:
        """A signed webhook; `signature` as below."""
        payload = json.dumps(event)
        return await self.post(payload, self.signature(payload, **signature))

    def signature(self, payload: str, *, age: int = 0, secret: str | None = None) -> str:
        """As Stripe makes it, `age` seconds ago, with the secret that the shop knows, too."""
        header: str = WebhookSignature.generate_signature_header(
            payload, secret or self._webhook_secret, int(time.time()) - age
        )
        return header


def stripe_event(event_type: str, **fields: Any) -> Json:
    """An event of Stripe about an object with these fields."""
    about = {"id": f"pi_{uuid4().hex}", "object": "payment_intent"} | fields
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": event_type,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": about},
    }
