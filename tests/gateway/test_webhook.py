"""The webhook door: verified, published, acknowledged; never anything but a clear answer."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
import stripe

from contracts.stripe import StripeEventReceived
from tests.contracts.stripe_shapes import Shape, objects, shape, snapshot, thin
from tests.gateway.conftest import OLD_WEBHOOK_SECRET, WEBHOOK_SECRET, Api, until

SHAPES = {shape(sample): sample for _name, sample in objects()}
"""A sample of each shape of object that Stripe's SDK knows."""


def event(order_id: str, **fields: Any) -> dict[str, Any]:
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "succeeded",
        "amount": 24000,
        "metadata": {"order_id": order_id},
        "receipt_email": "canary@example.com",
    }
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": intent},
    } | fields


async def post(
    api: Api, content: str, secret: str = WEBHOOK_SECRET, at: float | None = None
) -> httpx.Response:
    header = stripe.WebhookSignature.generate_signature_header(
        content, secret, int(at or time.time())
    )
    return await api.http.post(
        "/v1/stripe/webhook", content=content, headers={"Stripe-Signature": header}
    )


@pytest.mark.parametrize("secret", [WEBHOOK_SECRET, OLD_WEBHOOK_SECRET])
async def test_an_event_is_on_its_topic_when_stripe_is_told(api: Api, secret: str) -> None:
    order_id = str(uuid4())
    sent = event(order_id)
    answer = await post(api, json.dumps(sent), secret)
    assert (answer.status_code, answer.json()) == (200, {"received": True})

    [heard] = await api.other_side.hear(StripeEventReceived, order_id)
    assert heard.message.event_id == sent["id"]
    assert heard.envelope.id == heard.message.message_id
    assert b"canary" not in (heard.record.value or b"")


async def test_stripes_repeat_carries_the_same_message_id(api: Api) -> None:
    order_id = str(uuid4())
    content = json.dumps(event(order_id))
    await post(api, content)
    await post(api, content)
    first, second = await api.other_side.hear(StripeEventReceived, order_id, 2)
    assert first.envelope.id == second.envelope.id


async def test_an_unknown_type_for_an_order_we_never_had_is_kept(api: Api) -> None:
    order_id = str(uuid4())
    assert (await post(api, json.dumps(event(order_id, type="made.up")))).status_code == 200
    await api.other_side.hear(StripeEventReceived, order_id)


async def test_many_at_once(api: Api) -> None:
    orders = [str(uuid4()) for _ in range(50)]
    answers = await asyncio.gather(*(post(api, json.dumps(event(order))) for order in orders))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("secret", "age", "reason"),
    [
        ("whsec_forged", 0, "no signature matches the payload"),
        (WEBHOOK_SECRET, 400, "the timestamp is too old"),
        (WEBHOOK_SECRET, -400, "the timestamp is in the future"),
    ],
)
async def test_a_bad_signature(api: Api, secret: str, age: int, reason: str) -> None:
    order_id = str(uuid4())
    answer = await post(api, json.dumps(event(order_id)), secret, time.time() - age)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"Webhook signature verification failed: {reason}"
    assert not api.other_side.all(StripeEventReceived, order_id)


async def test_a_missing_signature(api: Api) -> None:
    answer = await api.http.post("/v1/stripe/webhook", content=b"{}")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Webhook signature verification failed: ")


@pytest.mark.parametrize("seen", SHAPES, ids=lambda seen: SHAPES[seen]["object"])
async def test_an_event_with_an_object_of_any_shape_is_kept(api: Api, seen: Shape) -> None:
    """One that is verified is answered 200, also when it is of no interest: Stripe would send it
    again for days otherwise."""
    sent = snapshot(f"made.up.{uuid4().hex}", SHAPES[seen])
    assert (await post(api, json.dumps(sent))).status_code == 200
    key = StripeEventReceived.from_event(sent).key  # some shapes have the same

    async def is_published() -> bool:
        published = api.other_side.all(StripeEventReceived, key)
        return sent["type"] in {each.message.event_type for each in published}

    await until(is_published)


async def test_a_thin_event_is_kept_by_its_id_and_type(api: Api) -> None:
    about = {"id": f"acct_{uuid4().hex}", "type": "v2.core.account", "url": "/v2/core/accounts/1"}
    sent = thin("v2.core.account.updated", about)
    assert (await post(api, json.dumps(sent))).status_code == 200
    [heard] = await api.other_side.hear(StripeEventReceived, about["id"])
    assert (heard.message.event_id, heard.message.event_type) == (sent["id"], sent["type"])

    sent = thin(f"v2.core.event_destination.ping.{uuid4().hex}", None)
    assert (await post(api, json.dumps(sent))).status_code == 200
    [heard] = await api.other_side.hear(StripeEventReceived, sent["id"])
    assert heard.message.object.id == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is not valid JSON"),
        ("no json", "it is not valid JSON"),
        ("[" * 5000, "it is not valid JSON"),
        ("null", "it is not a JSON object"),
        ("[]", "it is not a JSON object"),
        ("7", "it is not a JSON object"),
        ('"text"', "it is not a JSON object"),
        ("{}", "it has no id or no type"),
        (json.dumps(event("o", id=None)), "it has no id or no type"),
        (json.dumps(event("o", created="soon")), "it has no time of creation"),
        (json.dumps(event("o", data=None)), "it has no object"),
        (json.dumps(event("o", data=[])), "it has no object"),
        (json.dumps(event("o", data={})), "it has no object"),
        (json.dumps(event("o", data={"object": None})), "it has no object"),
        (json.dumps(event("o", data={"object": {}})), "it has no object"),
    ],
)
async def test_signed_but_no_event(api: Api, content: str, reason: str) -> None:
    answer = await post(api, content)
    assert answer.status_code == 400
    assert answer.json()["detail"] == f"The body is not a Stripe event: {reason}"


async def test_a_large_event_passes_and_a_huge_one_does_not(api: Api) -> None:
    assert (await post(api, json.dumps(event("o", padding="x" * 900_000)))).status_code == 200
    assert (await post(api, json.dumps(event("o", padding="x" * 1_100_000)))).status_code == 413
