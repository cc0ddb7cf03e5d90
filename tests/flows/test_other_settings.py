"""What only shows with other settings: reservations of two seconds, and patience with cards.

The service concerned is started anew for these tests, and once more after them.
"""

from collections.abc import Iterator

import pytest

from deploy.local.stack import LocalStack
from tests.flows.conftest import STOCK, at_rest, becomes, movements, ordered, stock_becomes
from tests.flows.people import Dashboard, Person


def restarted(stack: LocalStack, service: str, **settings: str) -> Iterator[None]:
    stack.stop(service)
    stack.start(service, env=settings)
    yield
    stack.restart(service)


@pytest.fixture(scope="class")
def short_reservations(stack: LocalStack) -> Iterator[None]:
    yield from restarted(stack, "order", RESERVATION_SECONDS="2")


@pytest.fixture(scope="class")
def patience_with_cards(stack: LocalStack) -> Iterator[None]:
    yield from restarted(stack, "payment", PAYMENT_FAILURE_POLICY="retry")


@pytest.mark.usefixtures("short_reservations")
class TestTheReservationExpires:
    async def test_an_order_that_nobody_pays_is_cancelled_at_stripe_and_here(
        self, stack: LocalStack, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        order = await ordered(anna, product, 2)
        await stock_becomes(anna, product, STOCK - 2)
        seen = await becomes(anna, order, status="cancelled", payment_status="unpaid")
        assert seen["history"][-1]["reason"] == "not paid within the reservation time"
        assert (await stripe.intent(order))["status"] == "canceled"
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]
        await stock_becomes(anna, product, STOCK)

    async def test_a_payment_that_the_shop_learns_of_while_it_cancels_wins(
        self, stack: LocalStack, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        """Its webhooks are held back: Stripe says so when asked to cancel."""
        order = await ordered(anna, product, 2)
        await stripe.fault("webhook_held")
        assert await anna.pay(order, "pm_card_visa")
        await becomes(anna, order, status="confirmed", payment_status="paid")
        await stripe.release()
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -2)]
        assert await stripe.kept(order) == order["total"]

    async def test_money_on_its_way_when_the_reservation_expires_goes_back(
        self, stack: LocalStack, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        order = await ordered(anna, product)
        await anna.pay(order, "pm_usBankAccount_processing")
        await becomes(anna, order, status="cancelled", payment_status="unpaid")
        intent = order["payment"]["payment_intent_id"]
        await stripe.control("POST", f"payment_intents/{intent}/succeed")
        await becomes(anna, order, status="cancelled", payment_status="refunded")
        assert await stripe.kept(order) == 0
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -1), ("restored", 1)]


@pytest.mark.usefixtures("patience_with_cards")
class TestAnotherCardMayBeTried:
    async def test_a_declined_card_leaves_the_order_open_for_the_next_one(
        self, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        order = await ordered(anna, product)
        assert not await anna.pay(order, "pm_card_chargeDeclined")
        seen = await becomes(anna, order, stripe_status="requires_payment_method")
        assert seen["status"] == "pending"
        assert await anna.pay(order, "pm_card_visa")
        await becomes(anna, order, status="confirmed", payment_status="paid")
        assert (await stripe.ledger(order))["successful_charges"] == 1
