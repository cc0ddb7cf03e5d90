"""The demonstration: orders that are paid, declined, cancelled, expired and raced for.

Every story says beforehand what must come out; the demonstration is right only if all of it
does, and the stock of every product adds up. Speaks HTTP only, as a storefront would.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import httpx

from deploy.local.demo_outcomes import Expected, Outcome, Stock
from deploy.local.demo_report import print_report
from deploy.local.errors import StackError
from deploy.local.shop import Json, Placed, Shop, ShopError, Site

# How long an unpaid order is kept: short, so that one can expire while we watch.
SETTINGS = {"RESERVATION_SECONDS": "6"}
RACERS = 8
# An expiry takes the reservation time and a sweep; a refund two calls to Stripe.
SECONDS_TO_SETTLE = 30

PRICE = 12_000  # R120.00
LOST_RACE = (
    "Product out of stock. Another customer may have purchased it. Please try again.",
    "Insufficient stock for {name}. Available: 0, Requested: 1",
)


Act = Callable[[Shop, Json], Awaitable[None]]


class Demo:
    """The stories and the people in them."""

    def __init__(self, site: Site, client: httpx.AsyncClient) -> None:
        self._token = site.token
        self._client = client
        self._mail_ids = site.mail_ids
        self._stripe_key = site.stripe_key
        self.staff = Shop(
            client,
            gateway=site.gateway,
            stripe=site.stripe,
            token=site.token("demo-staff", "admin"),
        )

    async def run(self) -> tuple[list[Outcome], list[Stock]]:
        """Plays all stories at once; returns every order's outcome and every product's stock."""
        prints = await self._product("Karoo at dawn, print", 100)
        scarce = await self._product("Oak frame, A3", 2)
        last = await self._product("Baobab, signed, the last one", 1)
        stories = [*self._stories(prints, scarce), *self._race(last)]
        await asyncio.gather(*(self._play(outcome, act) for outcome, act in stories))
        outcomes = [outcome for outcome, _ in stories]
        stocks = [prints, scarce, last]
        for stock in stocks:
            stock.outcomes = [o for o in outcomes if o.product == stock.product]
            stock.final = await self._final_stock(stock)
        self._judge_race(last)
        for outcome in outcomes:
            outcome.mails = await self._mails(outcome)
        return outcomes, stocks

    def _stories(self, prints: Stock, scarce: Stock) -> Iterable[tuple[Outcome, Act]]:
        staff = self.staff

        async def pays(shop: Shop, order: Json) -> None:
            await shop.pay(order, "pm_card_visa")

        async def is_declined(shop: Shop, order: Json) -> None:
            await shop.pay(order, "pm_card_chargeDeclined")

        async def changes_her_mind(shop: Shop, order: Json) -> None:
            await shop.cancel(order["order_id"], "ordered by mistake")

        async def pays_then_staff_cancels(shop: Shop, order: Json) -> None:
            await shop.pay(order, "pm_card_visa")
            await shop.order_when(order["order_id"], _is_confirmed, SECONDS_TO_SETTLE)
            await staff.cancel_as_staff(order["order_id"], "damaged in the warehouse")

        async def does_nothing(_shop: Shop, _order: Json) -> None:
            return

        def story(
            customer: str, title: str, stock: Stock, quantity: int, expected: Expected, act: Act
        ) -> tuple[Outcome, Act]:
            return Outcome(title, customer, stock.product, quantity, expected), act

        confirmed, changed = "order_confirmed", "status_changed"
        paid = Expected("confirmed", "paid", mails=(confirmed,))
        unpaid = Expected("cancelled", "unpaid", mails=(changed,))
        refunded = Expected("cancelled", "refunded", mails=(confirmed, changed, "refund_made"))
        declined = Expected(
            "cancelled",
            "failed",
            "Payment failed: Your card was declined.",
            mails=("payment_failed", changed),
        )
        too_many = f"Insufficient stock for {scarce.name}. Available: 2, Requested: 3"
        refused = Expected(messages=(too_many,))
        yield story("amina", "paid", prints, 2, paid, pays)
        yield story("bongani", "card declined", prints, 3, declined, is_declined)
        yield story("carla", "cancelled by the customer", prints, 1, unpaid, changes_her_mind)
        yield story("dev", "paid, cancelled by staff", prints, 4, refunded, pays_then_staff_cancels)
        yield story("elna", "never paid", prints, 5, unpaid, does_nothing)
        yield story("farai", "out of stock", scarce, 3, refused, does_nothing)

    def _race(self, last: Stock) -> Iterable[tuple[Outcome, Act]]:
        async def pays(shop: Shop, order: Json) -> None:
            await shop.pay(order, "pm_card_visa")

        for number in range(1, RACERS + 1):
            # Who wins is known only afterwards.
            outcome = Outcome("race", f"racer-{number}", last.product, 1, Expected())
            yield outcome, pays

    async def _play(self, outcome: Outcome, act: Act) -> None:
        shop = self.staff.as_(self._token(outcome.customer))
        try:
            placed: Placed = await shop.place(outcome.product, outcome.quantity)
            outcome.messages = placed.messages
            if placed.order is None:
                return
            outcome.order = placed.order
            await act(shop, placed.order)
            # Staff see the notes that customers do not.
            outcome.order = await self.staff.order_when(
                placed.order["order_id"],
                lambda order: _is_settled(order, outcome),
                SECONDS_TO_SETTLE,
            )
            outcome.kept = await self.staff.kept_at_stripe(outcome.order, self._stripe_key)
        except (ShopError, httpx.TransportError) as error:
            outcome.error = f"{type(error).__name__}: {error}"

    def _judge_race(self, last: Stock) -> None:
        """Exactly one wins: whoever has an order; where nobody or a second has, one is wrong."""
        lost = tuple(message.format(name=last.name) for message in LOST_RACE)
        winner = next((racer for racer in last.outcomes if racer.order), last.outcomes[0])
        for racer in last.outcomes:
            if racer is winner:
                racer.title = "race, won"
                racer.expected = Expected("confirmed", "paid", mails=("order_confirmed",))
            else:
                racer.title, racer.expected = "race, lost", Expected(messages=lost)

    async def _mails(self, outcome: Outcome) -> tuple[str, ...]:
        """The kinds of the order's mails, once they are as many as expected or time is over."""
        if outcome.order is None:
            return ()
        deadline = time.monotonic() + SECONDS_TO_SETTLE
        while True:
            found = await self._mail_ids(self._client, outcome.order["order_id"])
            kinds = tuple(name.split(".")[1] for name in found)
            if len(kinds) >= len(outcome.expected.mails) or time.monotonic() > deadline:
                return kinds
            await asyncio.sleep(0.1)

    async def _product(self, name: str, stock: int) -> Stock:
        product = await self.staff.add_product(name, price=PRICE, stock=stock)
        return Stock(product, name, stock)

    async def _final_stock(self, stock: Stock) -> int:
        """What the catalogue says, once it agrees or the time to settle is over."""
        deadline = time.monotonic() + SECONDS_TO_SETTLE
        while True:
            seen = int((await self.staff.product(stock.product))["stock_quantity"])
            if seen == stock.expected or time.monotonic() > deadline:
                return seen
            await asyncio.sleep(0.1)


async def run_demo(site: Site) -> bool:
    """Plays the demonstration on a running system and prints it; True if all came out right.

    Raises StackError if the products could not be made or read.
    """
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        try:
            outcomes, stocks = await Demo(site, client).run()
        except (ShopError, httpx.TransportError) as error:
            raise StackError(
                f"the demonstration broke off: {type(error).__name__}: {error}",
                todo=f"see what the services say: {site.where_logs_are}",
            ) from error
    return print_report(outcomes, stocks)


def _is_confirmed(order: Json) -> bool:
    return bool(order["status"] == "confirmed")


def _is_settled(order: Json, outcome: Outcome) -> bool:
    expected = outcome.expected
    if expected.status is None:
        return _is_confirmed(order)
    return bool(
        order["status"] == expected.status and order["payment_status"] == expected.payment_status
    )
