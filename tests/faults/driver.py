"""Customers and staff who use the shop while it is beaten, and who remember what they were told.

Orders are offered at a steady rate, whatever becomes of them (open loop). Whoever gets no answer
asks again under the same idempotency key, as a good shop page does. What was asked for and what was
said goes into `Told` and `Story`: the model that the checker compares the system with.
"""

import asyncio
import random
from dataclasses import dataclass, field

from deploy.local.shop import PUBLISHABLE_KEY, Json, Site
from deploy.verify.told import Answer, Told
from tests.faults.asking import Asking, GivenUpError, bearer

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
_RESTOCKS = 10
"""One delivery of goods in so many orders."""


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
    ask: Asking
    seed: int
    told: Told
    """Begins with the products that there are, and how many of each."""
    stories: list[Story] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    """Who got no answer, to what."""

    async def offer(self, rate: float, stop: asyncio.Event) -> None:
        """So many orders a second until told to stop; returns when each has come to its end."""
        loop = asyncio.get_running_loop()
        began, number = loop.time(), 0
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                rng = random.Random(f"{self.seed}:{number}")
                group.create_task(self._customer(f"c{self.seed}-{number}", rng))
                if number % _RESTOCKS == 0:
                    group.create_task(self._restock(number))
                number += 1
                await asyncio.sleep(began + number / rate - loop.time())

    async def _customer(self, name: str, rng: random.Random) -> None:
        try:
            await self._visit(name, rng)
        except GivenUpError as why:
            self.given_up.append(f"{name} gave up: {why}")

    async def _visit(self, name: str, rng: random.Random) -> None:
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
        headers = {"Idempotency-Key": name, "Prefer": "wait=5", **bearer(token)}
        body = {"items": [{"product_id": product, "quantity": 1}], "email": "a@example.com"}
        call = ("POST", f"{self.stack.gateway}/v1/orders", headers, body)
        answers = await asyncio.gather(*(self.ask(*call) for _ in range(2 if twice else 1)))
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
        async for _ in self.ask.tries():
            if order.get("payment") and order["payment"].get("client_secret"):
                return order
            url = f"{self.stack.gateway}/v1/orders/{order['order_id']}"
            status, order = await self.ask("GET", url, bearer(token))
            if status != 200 or order["status"] != "pending":
                return None
        return None

    async def _peep(self, order: Json, stranger: str) -> None:
        """Somebody else asks for the order, and must not learn that there is one."""
        for method, path in (("GET", ""), ("POST", "/cancellation")):
            url = f"{self.stack.gateway}/v1/orders/{order['order_id']}{path}"
            body = {"reason": "not mine"} if method == "POST" else None
            headers = bearer(stranger) | {"Idempotency-Key": f"peep-{order['order_id']}"}
            status, answer = await self.ask(method, url, headers, body)
            if status == 404:
                self.told.refused_reads += 1
            else:
                self.told.leaks.append(f"{method} {url} by a stranger: {status} {answer}")

    async def _pay(self, order: Json, card: str, story: Story) -> None:
        payment = order["payment"]
        url = f"{self.stack.stripe}/v1/payment_intents/{payment['payment_intent_id']}/confirm"
        form = {"client_secret": payment["client_secret"], "payment_method": card}
        status, _ = await self.ask("POST", url, bearer(PUBLISHABLE_KEY), form=form)
        story.paid = story.paid or status == 200

    async def _cancel(self, order: Json, token: str, story: Story) -> None:
        url = f"{self.stack.gateway}/v1/orders/{order['order_id']}/cancellation"
        headers = bearer(token) | {"Idempotency-Key": f"cancel-{order['order_id']}"}
        status, _ = await self.ask("POST", url, headers, {"reason": "changed my mind"})
        story.undo = story.undo or status in (200, 202)
        story.unsure = not story.undo

    async def _staff_acts(self, order_id: str, plan: str, story: Story) -> None:
        order = f"{self.stack.gateway}/v1/admin/orders/{order_id}"
        headers = bearer(self.stack.token("staff", "admin")) | {
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
        async for _ in self.ask.tries():  # 409 until the shop has heard of the payment
            status, _ = await self.ask(method, url, headers, body)
            if status != 409:
                break
            headers["Idempotency-Key"] += "+"
        if plan == "pay, staff refund":
            story.undo = status == 202
            story.unsure = not story.undo

    @property
    def products(self) -> list[str]:
        return list(self.told.supply)

    async def _restock(self, number: int) -> None:
        """Goods arrive, and staff put them on the shelf: once, however often they have to ask."""
        rng = random.Random(f"{self.seed}:restock:{number}")
        # Of the last product there is no more: it is the one that sells out.
        product, pieces = rng.choice(self.products[:-1]), rng.randint(1, 3)
        url = f"{self.stack.gateway}/v1/admin/products/{product}/stock"
        headers = bearer(self.stack.token("staff", "admin")) | {
            "Idempotency-Key": f"restock-{self.seed}-{number}"
        }
        body = {"delta": pieces, "reason": "goods arrived"}
        try:
            status, answer = await self.ask("POST", url, headers, body)
        except GivenUpError as why:
            self.given_up.append(f"staff gave up: {why}")
            return
        if status == 200:
            self.told.supply[product] += pieces
        else:
            self.given_up.append(f"staff could not put {pieces} there: {status} {answer}")
