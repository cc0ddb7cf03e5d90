"""A Stripe event on its topic, cut down to ids, states and amounts.

Stripe's events carry names, e-mail addresses and card details. None of them is needed here, so
only the listed fields leave the gateway; personal data stays out of Kafka by construction.
"""

from typing import Any, Self
from uuid import UUID, uuid5

from pydantic import Field

from contracts.message import Message, Value
from contracts.topics import STRIPE_WEBHOOKS

_NAMESPACE = UUID("6f0b3f52-1d9c-5f0e-8a55-5d2a6c2f7c11")


class StripeError(Value):
    """`last_payment_error` of an intent."""

    code: str | None = None
    decline_code: str | None = None
    message: str | None = None


class StripeMetadata(Value):
    """Of the metadata only what we set ourselves."""

    order_id: str | None = None
    refund_id: str | None = None


class StripeObject(Value):
    """The object of an event: a payment intent, charge, refund or dispute."""

    id: str
    object: str
    status: str | None = None
    amount: int | None = None
    amount_received: int | None = None
    amount_refunded: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    charge: str | None = None
    reason: str | None = None
    failure_reason: str | None = None
    last_payment_error: StripeError | None = None
    metadata: StripeMetadata = Field(default_factory=StripeMetadata)

    @property
    def intent_id(self) -> str | None:
        """The PaymentIntent that this object is, or belongs to."""
        return self.id if self.object == "payment_intent" else self.payment_intent


class StripeEventReceived(Message, type="stripe.event-received.v1", topic=STRIPE_WEBHOOKS):
    """One verified webhook. `created` is Stripe's, in seconds: too coarse to order events by."""

    event_id: str
    event_type: str
    created: int
    livemode: bool
    api_version: str | None = None
    object: StripeObject

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Self:
        """Cut down an event as Stripe sent it.

        Raises:
            pydantic.ValidationError: it is not an event with an object.
        """
        return cls.model_validate(
            {
                "event_id": event.get("id"),
                "event_type": event.get("type"),
                "created": event.get("created"),
                "livemode": event.get("livemode", False),
                "api_version": event.get("api_version"),
                "object": (event.get("data") or {}).get("object"),
            }
        )

    @property
    def key(self) -> str:
        return self.object.metadata.order_id or self.object.intent_id or self.object.id

    @property
    def message_id(self) -> UUID:
        """A UUIDv7 made from the event, so that Stripe's own repeats carry the same id:
        48 bits of `created` in milliseconds, the rest from a hash of the event's id."""
        hashed = uuid5(_NAMESPACE, self.event_id).int & ((1 << 80) - 1)
        value = (self.created * 1000 & ((1 << 48) - 1)) << 80 | hashed
        value = value & ~(0xF << 76) | 7 << 76
        return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)
