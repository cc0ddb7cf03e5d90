"""The door through which Stripe tells what happened to payments.

Verify, publish, wait for the broker's acknowledgement, answer 200. Anything else than 200 makes
Stripe send again, for three days: nothing is lost while the broker is away. What an event means is
the payment service's to decide: an event of no interest, whatever its type and its object's shape,
is published and answered with 200 too, and stored by the payment service as ignored. Only what is
no event at all gets 400.
"""

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Request
from prometheus_client import Counter
from pydantic import BaseModel

from contracts.stripe import NotAnEvent, StripeEventReceived
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
    try:
        event = read_event(payload)
    except NotAnEvent as reason:
        WEBHOOKS.labels("not_an_event").inc()
        raise ApiProblem(400, f"The body is not a Stripe event: {reason}") from None
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
        NotAnEvent: it is none; the text says why, which Stripe's dashboard shows.
    """
    try:
        event: Any = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise NotAnEvent("it is not valid JSON") from None
    if not isinstance(event, dict):
        raise NotAnEvent("it is not a JSON object")
    return StripeEventReceived.from_event(event)
