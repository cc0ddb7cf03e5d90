"""The door through which Stripe tells what happened to payments.

Verify, publish, wait for the broker's acknowledgement, answer 200. Anything else than 200 makes
Stripe send again, for three days: nothing is lost while the broker is away. What an event means is
the payment service's to decide; unknown types pass too.
"""

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request
from prometheus_client import Counter
from pydantic import BaseModel, ValidationError

from contracts.stripe import StripeEventReceived
from services.gateway.gateway import TheGateway
from services.gateway.stripe_signature import SignatureInvalid, verify
from services.kit.errors import BrokerUnavailable
from services.kit.problems import ApiProblem, ProblemDocument, unavailable

PATH = "/v1/stripe/webhook"
MAX_BYTES = 1024 * 1024

WEBHOOKS = Counter("orderflow_gateway_webhooks_total", "Stripe webhooks by outcome", ["outcome"])

router = APIRouter(tags=["stripe"])


class Received(BaseModel):
    received: bool = True


@router.post(
    PATH,
    summary="Receive a Stripe event",
    responses={
        400: {"model": ProblemDocument, "description": "Bad signature, or not an event"},
        503: {"model": ProblemDocument, "description": "Broker away: send it again"},
    },
)
async def receive(
    request: Request,
    gateway: TheGateway,
    stripe_signature: Annotated[str | None, Header()] = None,
) -> Received:
    payload = await request.body()
    try:
        verify(payload, stripe_signature, gateway.settings.webhook_secrets, now=time.time())
    except SignatureInvalid as reason:
        WEBHOOKS.labels("bad_signature").inc()
        raise ApiProblem(400, f"Webhook signature verification failed: {reason}") from None
    event = read_event(payload)
    try:
        await gateway.service.producer.send(event, message_id=event.message_id)
    except BrokerUnavailable:
        WEBHOOKS.labels("broker_away").inc()
        raise unavailable("The event could not be kept; please send it again") from None
    WEBHOOKS.labels("received").inc()
    return Received()


def read_event(payload: bytes) -> StripeEventReceived:
    """The event in a body whose signature is good.

    Raises:
        ApiProblem: 400 when it is no event with an object.
    """
    try:
        event: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        WEBHOOKS.labels("not_an_event").inc()
        raise ApiProblem(400, "The body is not valid JSON") from None
    try:
        # Stripe's event has an object in an object: anything else has nothing to tell.
        if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
            raise ApiProblem(400, "The body is not a Stripe event with an object")
        return StripeEventReceived.from_event(event)
    except (ValidationError, ApiProblem):
        WEBHOOKS.labels("not_an_event").inc()
        raise ApiProblem(400, "The body is not a Stripe event with an object") from None
