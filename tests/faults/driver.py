"""Customers and staff who use the shop while it is beaten, and who remember what they were told.

Orders are offered at a steady rate, whatever becomes of them (open loop). Whoever gets no answer
asks again under the same idempotency key, as a good shop page does. What was asked for and what was
said goes into `Told` and `Story`: the model that the checker compares the system with.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from deploy.local.shop import PUBLISHABLE_KEY, Json, Site
from deploy.verify.told import Answer, Told

PRICE = 12000
PLANS = {
    "pay": 50,
    "decline": 10,
    "cancel": 8,
    "pay and cancel": 10,
    "cancel and pay": 6,
    "abandon": 4,
    "pay, staff refund": 5,
    "pay, staff refund a part": 4,
    "pay, staff ship": 3,
}
"""What people have in mind, by weight."""
_TRIES = 240
_PAUSE = 0.25


class GivenUpError(Exception):
    """A customer got no answer for as long as anybody would ask."""


@dataclass(slots=True)
class Story:
    """One order as its customer lived it."""

    plan: str
    order_id: str | None = None
    refused: bool = False
    """The shop said no, with its reasons, and placed nothing."""
    paid: bool = False
    """Stripe said that the payment succeeded."""
    undo: bool = False
    """Somebody asked for a cancellation or refund, and was not refused."""
    unsure: bool = False
    """Refused in the end; an earlier try, whose answer was lost, may have had its effect."""


@dataclass(slots=True)
class Load:
    """Who comes is decided by `seed`: the n-th customer has the same plan in every run."""

    stack: Site
    http: aiohttp.ClientSession
    seed: int
    products: list[str]
    told: Told = field(default_factory=Told)
    stories: list[Story] = field(default_factory=list)

    async def offer(self, rate: float, stop: asyncio.Event) -> None:
        """So many orders a second until told to stop; returns when each has come to its end."""
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                rng = random.Random(f"{self.seed}:{number}")
                group.create_task(self._customer(f"c{self.seed}-{number}", rng))
                number += 1
                await asyncio.sleep(began + number / rate - loop.time())

    async def _customer(self, name: str, rng: random.Random) -> None:
        story = Story(rng.choices(list(PLANS), list(PLANS.values()))[0])
        self.stories.append(story)
        token, product = self.stack.token(name), rng.choice(self.products)
        order = await self._place(name, token, product, story, twice=rng.random() < 0.1)
        if order is None:
            return
        if rng.random() < 0.1:
            await self._peep(order, self.stack.token(f"{name}-stranger"))
        if story.plan != "abandon" and (order := await self._payable(order, token)):
            await self._live(order, token, story)

    async def _live(self, order: Json, token: str, story: Story) -> None:
        plan = story.plan
        if plan == "decline":
            await self._pay(order, "pm_card_chargeDeclined", story)
        elif plan == "cancel":
            await self._cancel(order, token, story)
        elif plan == "cancel and pay":  # two tabs: the money comes after the cancellation
            paying = self._pay(order, "pm_card_visa", story)
            await asyncio.gather(self._cancel(order, token, story), paying)
        else:
            await self._pay(order, "pm_card_visa", story)
        if plan == "pay and cancel":
            await self._cancel(order, token, story)
        elif plan.startswith("pay, staff") and story.paid:
            await self._staff_acts(order["order_id"], plan, story)

    async def _place(
        self, name: str, token: str, product: str, story: Story, *, twice: bool
    ) -> Json | None:
        headers = {"Idempotency-Key": name, "Prefer": "wait=5", **_bearer(token)}
        body = {"items": [{"product_id": product, "quantity": 1}], "email": "a@example.com"}
        call = ("POST", f"{self.stack.gateway}/v1/orders", headers, body)
        answers = await asyncio.gather(*(self._patiently(*call) for _ in range(2 if twice else 1)))
        for status, answer in answers:
            if status in (201, 202):
                self.told.acknowledged.append(Answer(answer["order_id"], name, name))
                story.order_id = answer["order_id"]
            elif status != 400:
                raise GivenUpError(f"{name} ordered and heard {status}: {answer}")
        story.refused = story.order_id is None
        return None if story.refused else answers[0][1]

    async def _payable(self, order: Json, token: str) -> Json | None:
        """The order once it can be paid; None when it is over before that."""
        for _ in range(_TRIES):
            if order.get("payment") and order["payment"].get("client_secret"):
                return order
            url = f"{self.stack.gateway}/v1/orders/{order['order_id']}"
            status, order = await self._patiently("GET", url, _bearer(token))
            if status != 200 or order["status"] != "pending":
                return None
            await asyncio.sleep(_PAUSE)
        return None

    async def _peep(self, order: Json, stranger: str) -> None:
        """Somebody else asks for the order, and must not learn that there is one."""
        for method, path in (("GET", ""), ("POST", "/cancellation")):
            url = f"{self.stack.gateway}/v1/orders/{order['order_id']}{path}"
            body = {"reason": "not mine"} if method == "POST" else None
            headers = _bearer(stranger) | {"Idempotency-Key": f"peep-{order['order_id']}"}
            status, answer = await self._patiently(method, url, headers, body)
            if status == 404:
                self.told.refused_reads += 1
            else:
                self.told.leaks.append(f"{method} {url} by a stranger: {status} {answer}")

    async def _pay(self, order: Json, card: str, story: Story) -> None:
        payment = order["payment"]
        url = f"{self.stack.stripe}/v1/payment_intents/{payment['payment_intent_id']}/confirm"
        form = {"client_secret": payment["client_secret"], "payment_method": card}
        status, _ = await self._patiently("POST", url, _bearer(PUBLISHABLE_KEY), form=form)
        story.paid = story.paid or status == 200

    async def _cancel(self, order: Json, token: str, story: Story) -> None:
        url = f"{self.stack.gateway}/v1/orders/{order['order_id']}/cancellation"
        headers = _bearer(token) | {"Idempotency-Key": f"cancel-{order['order_id']}"}
        status, _ = await self._patiently("POST", url, headers, {"reason": "changed my mind"})
        story.undo = story.undo or status in (200, 202)
        story.unsure = not story.undo

    async def _staff_acts(self, order_id: str, plan: str, story: Story) -> None:
        order = f"{self.stack.gateway}/v1/admin/orders/{order_id}"
        headers = _bearer(self.stack.token("staff", "admin")) | {
            "Idempotency-Key": f"staff-{order_id}"
        }
        call: tuple[str, str, Json]
        if plan == "pay, staff ship":
            call = ("PATCH", f"{order}/status", {"status": "processing", "reason": "packed"})
        elif plan == "pay, staff refund":
            call = ("POST", f"{order}/refund", {"reason": "damaged"})
        else:
            call = ("POST", f"{order}/refund", {"reason": "scratched", "amount": PRICE // 4})
        method, url, body = call
        for _ in range(40):  # 409 until the shop has heard of the payment
            status, _ = await self._patiently(method, url, headers, body)
            if status != 409:
                break
            headers["Idempotency-Key"] += "+"
            await asyncio.sleep(_PAUSE)
        if plan == "pay, staff refund":
            story.undo = status == 202
            story.unsure = not story.undo

    async def _patiently(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Json | None = None,
        form: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The answer, however often it takes to ask; 409 to a repeat means: still at it."""
        for _ in range(_TRIES):
            try:
                async with self.http.request(
                    method, url, headers=headers, json=body, data=form
                ) as answer:
                    said = await answer.json(content_type=None)
                    status = answer.status
            except (aiohttp.ClientError, TimeoutError, ValueError):
                status, said = 0, None
            again = status == 0 or status == 429 or status >= 500
            if not again and not (status == 409 and "Idempotency-Key" in str(said)):
                return status, said
            await asyncio.sleep(_PAUSE)
        raise GivenUpError(f"{method} {url}: no answer")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def browsers() -> AsyncIterator[aiohttp.ClientSession]:
    """The connections of all customers."""
    connector = aiohttp.TCPConnector(limit=600)
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield http
