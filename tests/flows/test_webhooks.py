"""Webhooks as they really come: late, twice, in any order, of other types, about other orders, or
not at all."""

from collections.abc import Iterator

import asyncpg
import pytest

from contracts.message import new_message_id
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
    stock,
)
from tests.flows.people import Dashboard, Person, stripe_event
from tests.flows.test_other_settings import restarted
from tests.kit.conftest import eventually
from tests.looking import rows


async def decided(stack: LocalStack, event_id: str) -> asyncpg.Record:
    """What the payment service made of an event, once it has."""
    query = "SELECT event_type, order_id, outcome, reason FROM stripe_events WHERE event_id = $1"
    (row,) = await eventually(lambda: rows(stack, "payment", query, event_id), bool)
    found: asyncpg.Record = row
    return found


async def events_of(stripe: Dashboard, order: Json) -> list[Json]:
    """Stripe's own list, the newest first."""
    found = (await stripe.api("GET", "events?limit=100"))["data"]
    intent = order["payment"]["payment_intent_id"]
    return [
        event
        for event in found
        if intent in (event["data"]["object"]["id"], event["data"]["object"].get("payment_intent"))
    ]


async def test_webhooks_that_come_twice_and_shuffled_count_once(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    await stripe.fault("webhook_doubled")
    await stripe.fault("webhook_shuffled", delay_ms=400)
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_visa")
    seen = await becomes(anna, order, status="confirmed", payment_status="paid")
    await eventually(stripe.owes, lambda owed: owed == 0)
    for event in await events_of(stripe, order):
        await decided(stack, event["id"])
    assert await anna.order(order["order_id"]) == seen
    assert await stripe.kept(order) == PRICE
    assert await movements(stack, order) == [("reserved", -1)]


async def test_webhooks_that_come_in_reverse_order_lead_to_the_same_end(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    """Paid and refunded before the shop hears anything: first of the refund, last of the intent."""
    await stripe.fault("webhook_dropped")
    order = await ordered(anna, product, 2)
    await anna.pay(order, "pm_card_visa")
    await stripe.api("POST", "refunds", payment_intent=order["payment"]["payment_intent_id"])
    await stripe.control("DELETE", "faults")
    backwards = await events_of(stripe, order)
    assert [event["type"] for event in backwards].index("charge.refunded") < [
        event["type"] for event in backwards
    ].index("payment_intent.succeeded")
    for event in backwards:
        await stripe.control("POST", f"events/{event['id']}/resend")
        await decided(stack, event["id"])
    await becomes(anna, order, status="refunded", payment_status="refunded")
    await at_rest(stack, order)
    assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]
    assert await stripe.kept(order) == 0


async def test_a_type_that_nobody_knows_is_kept_and_changes_nothing(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await ordered(anna, product)
    news = stripe_event(
        "payment_intent.teleported",
        id=order["payment"]["payment_intent_id"],
        metadata={"order_id": order["order_id"]},
    )
    assert (await stripe.send(news)).status_code == 200
    assert (await decided(stack, news["id"]))["outcome"] == "ignored"
    assert await anna.order(order["order_id"]) == order


async def test_a_payment_of_somebody_elses_system_is_kept_and_ignored(
    stack: LocalStack, stripe: Dashboard
) -> None:
    news = stripe_event("payment_intent.succeeded", status="succeeded", metadata={})
    assert (await stripe.send(news)).status_code == 200
    assert (await decided(stack, news["id"]))["outcome"] == "foreign"


async def test_a_payment_for_an_order_we_never_had_waits_for_a_person(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    unknown = str(new_message_id())
    news = stripe_event(
        "payment_intent.succeeded", status="succeeded", metadata={"order_id": unknown}
    )
    assert (await stripe.send(news)).status_code == 200
    seen = await decided(stack, news["id"])
    assert (seen["outcome"], seen["reason"]) == (
        "parked",
        f"there is no payment of order {unknown}",
    )
    (parked,) = await rows(
        stack, "payment", "SELECT state, reason FROM parked_messages WHERE key = $1", unknown
    )
    assert (parked["state"], parked["reason"]) == ("parked", seen["reason"])
    await ordered(anna, product)  # everybody else goes on
    assert await stock(anna, product) < STOCK


async def test_a_success_that_says_another_amount_confirms_nothing(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    """Signed, about our intent, but a cent for a print: a person must look."""
    order = await ordered(anna, product)
    news = stripe_event(
        "payment_intent.succeeded",
        id=order["payment"]["payment_intent_id"],
        amount=1,
        amount_received=1,
        currency="zar",
        status="succeeded",
        metadata={"order_id": order["order_id"]},
    )
    assert (await stripe.send(news)).status_code == 200
    assert (await decided(stack, news["id"]))["outcome"] == "parked"
    assert (await anna.order(order["order_id"]))["payment_status"] == "unpaid"


async def test_a_nul_where_the_order_id_should_be_stops_nobody(
    anna: Person, stripe: Dashboard, product: str
) -> None:
    news = stripe_event("payment_intent.succeeded", metadata={"order_id": "\x00"})
    assert (await stripe.send(news)).status_code in (200, 400)
    await paid(anna, product)


@pytest.fixture(scope="class")
def hasty_reconciliation(stack: LocalStack) -> Iterator[None]:
    yield from restarted(stack, "payment", RECONCILE_SECONDS="1")


@pytest.mark.usefixtures("hasty_reconciliation")
class TestWebhooksThatNeverCame:
    async def test_a_webhook_that_never_came_is_found_in_stripes_list(
        self, stack: LocalStack, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        order = await ordered(anna, product)
        await stripe.fault("webhook_dropped")
        assert await anna.pay(order, "pm_card_visa")
        await becomes(anna, order, status="confirmed", payment_status="paid")
        assert await stripe.kept(order) == PRICE
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -1)]

    async def test_a_refund_at_stripe_that_nobody_told_of_is_found(
        self, stack: LocalStack, anna: Person, stripe: Dashboard, product: str
    ) -> None:
        order = await paid(anna, product, 2)
        await stripe.fault("webhook_dropped")
        await stripe.api("POST", "refunds", payment_intent=order["payment"]["payment_intent_id"])
        await becomes(anna, order, status="refunded", payment_status="refunded")
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -2), ("restored", 2)]
