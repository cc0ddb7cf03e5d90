"""How customers and their banks pay, and what the shop makes of it."""

import asyncio

import pytest

from deploy.local.stack import LocalStack
from tests.flows.conftest import (
    PRICE,
    STOCK,
    at_rest,
    becomes,
    movements,
    ordered,
    paid,
    stock_becomes,
)
from tests.flows.people import Dashboard, Person
from tests.kit.conftest import eventually
from tests.looking import rows


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("pm_card_chargeDeclined", "Your card was declined."),
        ("pm_card_chargeDeclinedInsufficientFunds", "Your card has insufficient funds."),
        ("pm_card_chargeDeclinedExpiredCard", "Your card has expired."),
    ],
)
async def test_a_declined_card_ends_the_order_so_that_nobody_can_pay_for_it_any_more(
    stack: LocalStack,
    staff: Person,
    anna: Person,
    stripe: Dashboard,
    product: str,
    card: str,
    message: str,
) -> None:
    order = await ordered(anna, product, 2)
    assert not await anna.pay(order, card)
    await becomes(anna, order, status="cancelled", payment_status="failed")
    assert (await stripe.intent(order))["status"] == "canceled"
    seen = await staff.order(order["order_id"])
    assert seen["admin_notes"] == f"Payment failed: {message}"
    await at_rest(stack, order)
    assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]
    await stock_becomes(anna, product, STOCK)


async def test_a_payment_that_needs_the_customer_shows_and_waits(
    anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product)
    assert await anna.pay(order, "pm_card_authenticationRequired")
    seen = await becomes(anna, order, stripe_status="requires_action")
    assert (seen["status"], seen["payment_status"]) == ("pending", "unpaid")
    intent = order["payment"]["payment_intent_id"]
    await stripe.control("POST", f"payment_intents/{intent}/authenticate", {"success": True})
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_a_customer_who_fails_3d_secure_is_declined(
    staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_authenticationRequired")
    intent = order["payment"]["payment_intent_id"]
    await stripe.control("POST", f"payment_intents/{intent}/authenticate", {"success": False})
    await becomes(anna, order, status="cancelled", payment_status="failed")
    notes = (await staff.order(order["order_id"]))["admin_notes"]
    assert notes.startswith("Payment failed: The provided PaymentMethod has failed authentication.")
    await stock_becomes(anna, product, STOCK)


@pytest.mark.parametrize(
    ("bank", "status", "payment_status"),
    [("succeed", "confirmed", "paid"), ("fail", "cancelled", "failed")],
)
async def test_a_bank_debit_shows_as_processing_until_the_bank_has_decided(
    anna: Person, stripe: Dashboard, product: str, bank: str, status: str, payment_status: str
) -> None:
    order = await ordered(anna, product, 3)
    assert await anna.pay(order, "pm_usBankAccount_processing")
    seen = await becomes(anna, order, stripe_status="processing")
    assert (seen["status"], seen["payment_status"]) == ("pending", "unpaid")
    await stripe.control("POST", f"payment_intents/{order['payment']['payment_intent_id']}/{bank}")
    await becomes(anna, order, status=status, payment_status=payment_status)
    await stock_becomes(anna, product, STOCK - 3 if bank == "succeed" else STOCK)


async def test_an_intent_cancelled_at_stripe_cancels_the_order(
    anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await stripe.api("POST", f"payment_intents/{order['payment']['payment_intent_id']}/cancel")
    await becomes(anna, order, status="cancelled", payment_status="unpaid")
    await stock_becomes(anna, product, STOCK)


@pytest.mark.parametrize("milliseconds", [0, 10, 20, 40, 80])
async def test_a_customer_changes_her_mind_while_the_order_is_being_placed(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str, milliseconds: int
) -> None:
    """Wherever the order is by then: before its reservation, before its intent, or after both."""
    placed = await anna.check_out([{"product_id": product, "quantity": 2}], wait=None)
    order = placed.json()
    await asyncio.sleep(milliseconds / 1000)
    await anna.cancel(order["order_id"], "changed my mind")
    await becomes(anna, order, status="cancelled", payment_status="unpaid")
    await at_rest(stack, order)
    assert sum(quantity for _, quantity in await movements(stack, order)) == 0
    known = (await stripe.control("GET", f"ledger?order_id={order['order_id']}"))["data"]
    assert {intent["status"] for intent in known} <= {"canceled"}


async def test_a_customer_leaves_while_the_bank_waits_for_them(
    anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_authenticationRequired")
    await becomes(anna, order, stripe_status="requires_action")
    await anna.cancel(order["order_id"], "too much trouble")
    await becomes(anna, order, status="cancelled", payment_status="unpaid")
    assert (await stripe.intent(order))["status"] == "canceled"
    await stock_becomes(anna, product, STOCK)


async def test_a_payment_that_crosses_the_customers_cancellation_goes_back(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    """Its webhook is held back, so the shop learns of it only when it tries to cancel."""
    order = await ordered(anna, product, 2)
    await stripe.fault("webhook_held")
    assert await anna.pay(order, "pm_card_visa")
    await anna.cancel(order["order_id"], "changed my mind")
    await becomes(anna, order, status="cancelled", payment_status="refunded")
    assert await stripe.kept(order) == 0
    await stripe.release()
    await at_rest(stack, order)
    assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]
    await stock_becomes(anna, product, STOCK)


async def test_money_that_arrives_after_the_order_was_cancelled_goes_back_by_itself(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await anna.pay(order, "pm_usBankAccount_processing")
    await becomes(anna, order, stripe_status="processing")
    await anna.cancel(order["order_id"], "changed my mind")
    await becomes(anna, order, status="cancelled", payment_status="unpaid")
    await stock_becomes(anna, product, STOCK)
    intent = order["payment"]["payment_intent_id"]
    await stripe.control("POST", f"payment_intents/{intent}/succeed")
    await becomes(anna, order, status="cancelled", payment_status="refunded")
    assert await stripe.kept(order) == 0
    assert (await stripe.ledger(order))["successful_charges"] == 1
    await at_rest(stack, order)
    assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]


async def test_a_dispute_is_flagged_and_leaves_the_order_as_it_is(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product)
    intent = order["payment"]["payment_intent_id"]
    dispute = await stripe.control("POST", f"payment_intents/{intent}/dispute")
    (kept,) = await eventually(
        lambda: rows(
            stack,
            "payment",
            """
            SELECT outcome, disputed FROM stripe_events JOIN payments USING (order_id)
             WHERE event_type = 'charge.dispute.created' AND object_id = $1
            """,
            dispute["id"],
        ),
        bool,
    )
    assert tuple(kept) == ("applied", True)
    assert await anna.order(order["order_id"]) == order
    assert await stripe.kept(order) == PRICE
