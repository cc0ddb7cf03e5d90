"""Money that goes back: who starts it, how much of it, and what happens to the goods."""

import asyncio
from typing import Any

import pytest

from deploy.local.shop import Json
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

BOUGHT = [("reserved", -2)]
BACK_ON_THE_SHELF = [("reserved", -2), ("restored", 2)]


async def test_a_full_refund_at_stripes_dashboard_refunds_and_restocks(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    await stripe.api("POST", "refunds", payment_intent=order["payment"]["payment_intent_id"])
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == BACK_ON_THE_SHELF
    await stock_becomes(anna, product, STOCK)


async def test_a_partial_refund_at_the_dashboard_shows_and_restocks_nothing(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    intent = order["payment"]["payment_intent_id"]
    await stripe.api("POST", "refunds", payment_intent=intent, amount="5000")
    seen = await becomes(anna, order, payment_status="partially_refunded")
    assert (seen["status"], seen["amount_refunded"]) == ("confirmed", 5000)
    assert await movements(stack, order) == BOUGHT
    # ... and the rest: from then on it is a full one.
    await stripe.api("POST", "refunds", payment_intent=intent, amount=str(2 * PRICE - 5000))
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == BACK_ON_THE_SHELF


async def test_partial_refunds_by_staff_leave_order_and_stock_until_nothing_is_left(
    stack: LocalStack, staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    await staff.refund(order, amount=4000, reason="a scratch")
    seen = await becomes(anna, order, payment_status="partially_refunded")
    assert (seen["status"], seen["amount_refunded"]) == ("confirmed", 4000)
    assert await movements(stack, order) == BOUGHT
    await staff.refund(order)
    await becomes(anna, order, status="refunded", payment_status="refunded", amount_refunded=24000)
    assert [refund["amount"] for refund in (await stripe.ledger(order))["refunds"]] == [4000, 20000]
    await at_rest(stack, order)
    assert await movements(stack, order) == BACK_ON_THE_SHELF


@pytest.mark.parametrize("steps", [(), ("processing",)], ids=["confirmed", "processing"])
async def test_goods_that_never_left_go_back_to_the_shelf(
    stack: LocalStack, staff: Person, anna: Person, product: str, steps: tuple[str, ...]
) -> None:
    order = await moved_along(staff, await paid(anna, product, 2), *steps)
    await staff.refund(order)
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == BACK_ON_THE_SHELF


@pytest.mark.parametrize(
    ("how", "expected"),
    [({}, BOUGHT), ({"restock": False}, BOUGHT), ({"restock": True}, BACK_ON_THE_SHELF)],
    ids=["unsaid", "kept", "came back"],
)
async def test_shipped_goods_come_back_to_the_shelf_only_when_somebody_says_so(
    stack: LocalStack,
    staff: Person,
    anna: Person,
    stripe: Dashboard,
    product: str,
    how: dict[str, Any],
    expected: list[tuple[str, int]],
) -> None:
    order = await moved_along(staff, await paid(anna, product, 2), "processing", "shipped")
    await staff.refund(order, **how)
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == expected
    assert await stripe.kept(order) == 0


async def test_a_shipped_order_refunded_at_the_dashboard_restocks_nothing(
    stack: LocalStack, staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    steps = ("processing", "shipped", "delivered")
    order = await moved_along(staff, await paid(anna, product, 2), *steps)
    await stripe.api("POST", "refunds", payment_intent=order["payment"]["payment_intent_id"])
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == BOUGHT


async def test_more_than_was_paid_is_not_refunded(
    staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    path = f"/v1/admin/orders/{order['order_id']}/refund"
    answer = await staff.ask("POST", path, {"amount": 2 * PRICE + 1, "reason": "a slip"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "At most 24000 can still be refunded, in minor units"
    assert await stripe.kept(order) == 2 * PRICE


async def test_a_cancellation_gives_back_what_a_partial_refund_left(
    stack: LocalStack, staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    await staff.refund(order, amount=5000)
    await becomes(anna, order, payment_status="partially_refunded")
    await staff.cancel_as_staff(order["order_id"], "it broke")
    await becomes(anna, order, status="cancelled", payment_status="refunded", amount_refunded=24000)
    assert await stripe.kept(order) == 0
    await at_rest(stack, order)
    assert await movements(stack, order) == BACK_ON_THE_SHELF


async def test_a_refund_that_is_on_its_way_counts_as_made(
    anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_pendingRefund")
    await becomes(anna, order, status="confirmed")
    await anna.cancel(order["order_id"], "changed my mind")
    await becomes(anna, order, status="cancelled", payment_status="refunded")
    assert await stripe.kept(order) == 0


@pytest.mark.parametrize("undo", ["cancelled", "refunded"])
async def test_money_that_the_bank_sent_back_can_be_refunded_again_by_hand(
    staff: Person, anna: Person, stripe: Dashboard, product: str, undo: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_refundFail")
    await becomes(anna, order, status="confirmed")
    await staff.set_status(order, undo)
    await becomes(
        staff,
        order,
        status=undo,
        payment_status="paid",
        admin_notes="Refund failed: The refund failed at Stripe: lost_or_stolen_card.",
    )
    await staff.refund(order)
    await becomes(anna, order, status=undo, payment_status="refunded")


async def test_everybody_undoes_an_order_at_once_and_it_is_undone_once(
    stack: LocalStack, staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product, 2)
    intent, path = order["payment"]["payment_intent_id"], f"/v1/orders/{order['order_id']}"
    answers = await asyncio.gather(
        staff.ask("POST", f"/v1/admin{path[3:]}/refund", {"reason": "sent back"}),
        staff.ask("PATCH", f"/v1/admin{path[3:]}/status", {"status": "cancelled", "reason": "no"}),
        anna.ask("POST", f"{path}/cancellation", {"reason": "changed my mind"}),
        stripe.try_api("POST", "refunds", payment_intent=intent),
    )
    assert {answer.status_code for answer in answers[:3]} <= {202, 409}
    await becomes(anna, order, payment_status="refunded")
    await at_rest(stack, order)
    seen = await anna.order(order["order_id"])
    assert seen["status"] in ("cancelled", "refunded")
    assert [change["old_status"] for change in seen["history"]] == [None, "pending", "confirmed"]
    assert await movements(stack, order) == BACK_ON_THE_SHELF
    assert await stripe.kept(order) == 0


async def moved_along(staff: Person, order: Json, *statuses: str) -> Json:
    for status in statuses:
        await staff.set_status(order, status)
        order = await becomes(staff, order, status=status)
    return order
