"""Webhooks that Stripe did not send, or that are no events: nothing of them is believed."""

import json
from typing import Any

import pytest

from deploy.local.shop import Json
from tests.flows.conftest import ordered, refused
from tests.flows.people import Dashboard, Person, stripe_event

pytestmark = pytest.mark.usefixtures("nobody_stumbles")


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        ({"secret": "whsec_guessed"}, "no signature matches the payload"),
        ({"age": 301}, "the timestamp is too old"),
        ({"age": -400}, "the timestamp is in the future"),
    ],
    ids=["bad", "old", "future"],
)
async def test_a_webhook_that_stripe_did_not_sign_now(
    anna: Person, stripe: Dashboard, product: str, signed: dict[str, Any], reason: str
) -> None:
    order = await ordered(anna, product)
    answer = await stripe.send(success_of(order), **signed)
    refused(answer, 400)
    assert answer.json()["detail"] == f"Webhook signature verification failed: {reason}"
    assert (await anna.order(order["order_id"]))["payment_status"] == "unpaid"


@pytest.mark.parametrize("signature", [None, "", "t=1", "v1=00", "t=x,v1=00", "nonsense"])
async def test_a_webhook_without_a_signature(
    anna: Person, stripe: Dashboard, product: str, signature: str | None
) -> None:
    order = await ordered(anna, product)
    answer = await stripe.post(json.dumps(success_of(order)), signature)
    refused(answer, 400)
    assert answer.json()["detail"].startswith("Webhook signature verification failed: ")
    assert (await anna.order(order["order_id"]))["payment_status"] == "unpaid"


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        "[]",
        '"text"',
        "{}",
        json.dumps({**stripe_event("payment_intent.succeeded"), "data": {}}),
        json.dumps({**stripe_event("payment_intent.succeeded"), "data": {"object": None}}),
        json.dumps({**stripe_event("payment_intent.succeeded"), "type": None}),
    ],
)
async def test_a_signed_webhook_that_is_no_event_with_an_object(
    stripe: Dashboard, payload: str
) -> None:
    refused(await stripe.post(payload, stripe.signature(payload)), 400)


def success_of(order: Json) -> Json:
    """What Stripe would say if this order were paid."""
    return stripe_event(
        "payment_intent.succeeded",
        id=order["payment"]["payment_intent_id"],
        amount=order["total"],
        amount_received=order["total"],
        currency=order["currency"],
        status="succeeded",
        metadata={"order_id": order["order_id"]},
    )
