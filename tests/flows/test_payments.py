"""What customers, banks, staff and Stripe can do to a payment, and what the shop makes of it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stripe as stripe_sdk

from contracts.message import new_message_id
from deploy.local.shop import Json, Shop
from deploy.local.stack import LocalStack
from tests.flows.conftest import becomes, ordered, stock_becomes
from tests.invariants import ledger, rows


class Stripe:
    """The stand-in's controls, and what a colleague does at Stripe's dashboard."""

    def __init__(self, stack: LocalStack, client: httpx.AsyncClient) -> None:
        self._url = stack.stripe
        self._client = client

    async def control(self, method: str, path: str, body: Json | None = None) -> Any:
        answer = await self._client.request(method, f"{self._url}/_control/{path}", json=body)
        return answer.raise_for_status().json()

    async def dashboard(self, path: str, **form: str) -> None:
        answer = await self._client.post(
            f"{self._url}/v1/{path}", data=form, headers={"Authorization": "Bearer sk_test_local"}
        )
        answer.raise_for_status()


@pytest.fixture
async def stripe(stack: LocalStack, client: httpx.AsyncClient) -> AsyncIterator[Stripe]:
    controls = Stripe(stack, client)
    yield controls
    await controls.control("DELETE", "faults")
    await controls.control("POST", "webhooks/release", {})


@pytest.fixture
async def product(staff: Shop) -> str:
    return await staff.add_product("Print", price=12000, stock=10)


async def kept(stack: LocalStack, order: Json) -> int:
    (entry,) = (await ledger(stack))[order["order_id"]]
    return int(entry["amount_received"] - entry["amount_refunded"])


async def test_a_payment_that_needs_the_customer_shows_and_waits(
    staff: Shop, anna: Shop, stripe: Stripe, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_authenticationRequired")
    seen = await anna.order_when(
        order["order_id"], lambda o: bool(o["payment"]["status"] == "requires_action"), 20
    )
    assert (seen["status"], seen["payment"]["status"]) == ("pending", "requires_action")
    intent = order["payment"]["payment_intent_id"]
    await stripe.control("POST", f"payment_intents/{intent}/authenticate", {"success": True})
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_a_bank_debit_shows_as_processing_and_confirms_when_it_settles(
    anna: Shop, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_usBankAccount_success")
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_an_intent_cancelled_at_stripe_cancels_the_order(
    anna: Shop, stripe: Stripe, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await stripe.dashboard(f"payment_intents/{order['payment']['payment_intent_id']}/cancel")
    await becomes(anna, order, status="cancelled", payment_status="unpaid")
    await stock_becomes(anna, product, 10)


async def test_a_payment_that_crosses_the_customers_cancellation_goes_back(
    stack: LocalStack, anna: Shop, stripe: Stripe, product: str
) -> None:
    """Its webhook is held back, so the shop learns of it only when it tries to cancel."""
    order = await ordered(anna, product, 2)
    await stripe.control("POST", "faults", {"kind": "webhook_held"})
    assert await anna.pay(order, "pm_card_visa")
    await anna.cancel(order["order_id"], "changed my mind")
    await becomes(anna, order, status="cancelled", payment_status="refunded")
    assert await kept(stack, order) == 0
    await stock_becomes(anna, product, 10)


async def test_webhooks_that_come_twice_and_out_of_order_count_once(
    stack: LocalStack, anna: Shop, stripe: Stripe, product: str
) -> None:
    await stripe.control("POST", "faults", {"kind": "webhook_doubled"})
    await stripe.control("POST", "faults", {"kind": "webhook_shuffled", "delay_ms": 400})
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_visa")
    seen = await becomes(anna, order, status="confirmed", payment_status="paid")
    await asyncio.sleep(1)  # the last of the shuffled ones
    assert (await anna.order(order["order_id"]))["version"] == seen["version"]
    assert await kept(stack, order) == 12000


async def test_a_full_refund_at_stripes_dashboard_refunds_and_restocks(
    anna: Shop, stripe: Stripe, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed")
    await stripe.dashboard("refunds", payment_intent=order["payment"]["payment_intent_id"])
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await stock_becomes(anna, product, 10)


async def test_partial_refunds_leave_order_and_stock_until_nothing_is_left(
    stack: LocalStack, staff: Shop, anna: Shop, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed")
    refund = f"/v1/admin/orders/{order['order_id']}/refund"
    await staff._call("POST", refund, {"amount": 4000, "reason": "a scratch"})
    await becomes(anna, order, status="confirmed", payment_status="partially_refunded")
    await stock_becomes(anna, product, 8)
    await staff._call("POST", refund, {"reason": "sent back"})
    await becomes(anna, order, status="refunded", payment_status="refunded")
    assert await kept(stack, order) == 0
    await stock_becomes(anna, product, 10)


@pytest.mark.parametrize(("restock", "stock"), [(None, 8), (True, 10)])
async def test_shipped_goods_come_back_to_the_shelf_only_when_somebody_says_so(
    staff: Shop, anna: Shop, product: str, restock: bool | None, stock: int
) -> None:
    order = await ordered(anna, product, 2)
    await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed")
    for status in ("processing", "shipped"):
        path = f"/v1/admin/orders/{order['order_id']}/status"
        await staff._call("PATCH", path, {"status": status, "reason": "on its way"})
        await becomes(anna, order, status=status)
    body: Json = {"reason": "damaged"} | ({} if restock is None else {"restock": restock})
    await staff._call("POST", f"/v1/admin/orders/{order['order_id']}/refund", body)
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await stock_becomes(anna, product, stock)


async def test_a_signed_webhook_for_an_order_we_never_had_is_parked_and_one_of_others_is_kept(
    stack: LocalStack, client: httpx.AsyncClient
) -> None:
    unknown = str(new_message_id())
    for metadata in ({"order_id": unknown}, {}):
        event = {
            "id": f"evt_{uuid4().hex}",
            "object": "event",
            "type": "payment_intent.succeeded",
            "created": int(time.time()),
            "livemode": False,
            "data": {
                "object": {
                    "id": f"pi_{uuid4().hex}",
                    "object": "payment_intent",
                    "status": "succeeded",
                    "metadata": metadata,
                }
            },
        }
        body = json.dumps(event)
        signature = stripe_sdk.WebhookSignature.generate_signature_header(
            body, stack.webhook_secret, int(time.time())
        )
        answer = await client.post(
            f"{stack.gateway}/v1/stripe/webhook",
            content=body,
            headers={"Stripe-Signature": signature},
        )
        assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + 20
    while not await rows(stack, "payment", "SELECT 1 FROM parked_messages WHERE key = $1", unknown):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    kept_events = await rows(
        stack, "payment", "SELECT 1 FROM stripe_events WHERE outcome = 'foreign'"
    )
    assert kept_events
