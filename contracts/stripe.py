"""A Stripe event on its topic, cut down to ids, states and amounts.

Stripe's events carry names, e-mail addresses and card details. None of them is needed here, so
only the listed fields leave the gateway; personal data stays out of Kafka by construction.

Stripe has hundreds of event types, and their objects have many shapes: some have no id (a balance),
metadata is null, an amount is an object (a credit grant). A field that is not of the type that is
needed here is left out, and the event is kept: it may be of no interest, and if it is of interest
the payment service sets it aside for what is missing. Thin events (`v2.core.event`) name their
object and do not hold it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Self
from uuid import UUID, uuid5

from pydantic import Field

from contracts.message import Message, Value
from contracts.topics import STRIPE_WEBHOOKS

_NAMESPACE = UUID("6f0b3f52-1d9c-5f0e-8a55-5d2a6c2f7c11")
_LONGEST_ID: Final = 255
_LONGEST_TEXT: Final = 1000
_LATEST: Final = (
    253_402_300_799  # the end of the year 9999: later is no time for PostgreSQL's users
)


class NotAnEvent(ValueError):  # noqa: N818  # says what it is
    """The JSON is no event of Stripe; the text says what is missing."""


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
    """The object of an event: a payment intent, charge, refund, dispute, or any other.

    Fields that the object does not have, or has as another type than here, are None.
    """

    id: str = Field(default="", description="empty for an object that has none, such as a balance")
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
        return (self.id or None) if self.object == "payment_intent" else self.payment_intent


THIN_EVENT: Final = "v2.core.event"
"""The `object` of an event of Stripe's API v2."""


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
        """Cut down an event as Stripe sent it: a snapshot (API v1) or a thin one (v2).

        Raises:
            NotAnEvent: an event has an id, a type, a time, and an object, or is a thin event.
        """
        event_id, event_type = _id(event.get("id")), _id(event.get("type"))
        if event_id is None or event_type is None:
            raise NotAnEvent("it has no id or no type")
        thin = event.get("object") == THIN_EVENT
        return cls(
            event_id=event_id,
            event_type=event_type,
            created=_created(event.get("created"), thin=thin),
            livemode=event.get("livemode") is True,
            api_version=_text(event.get("api_version")),
            object=_related(event) if thin else _snapshot(event),
        )

    @property
    def key(self) -> str:
        return (
            self.object.metadata.order_id
            or self.object.intent_id
            or self.object.id
            or self.event_id
        )

    @property
    def message_id(self) -> UUID:
        """A UUIDv7 made from the event, so that Stripe's own repeats carry the same id:
        48 bits of `created` in milliseconds, the rest from a hash of the event's id."""
        hashed = uuid5(_NAMESPACE, self.event_id).int & ((1 << 80) - 1)
        value = (self.created * 1000 & ((1 << 48) - 1)) << 80 | hashed
        value = value & ~(0xF << 76) | 7 << 76
        return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


# -- reading what Stripe sent --------------------------------------------------------------------


def _snapshot(event: Mapping[str, Any]) -> StripeObject:
    data = event.get("data")
    found = data.get("object") if isinstance(data, dict) else None
    kind = _id(found.get("object")) if isinstance(found, dict) else None
    if not isinstance(found, dict) or kind is None:
        raise NotAnEvent("it has no object")
    error, metadata = found.get("last_payment_error"), found.get("metadata")
    return StripeObject(
        id=_id(found.get("id")) or "",
        object=kind,
        status=_text(found.get("status")),
        amount=_integer(found.get("amount")),
        amount_received=_integer(found.get("amount_received")),
        amount_refunded=_integer(found.get("amount_refunded")),
        currency=_text(found.get("currency")),
        payment_intent=_reference(found.get("payment_intent")),
        charge=_reference(found.get("charge")),
        reason=_text(found.get("reason")),
        failure_reason=_text(found.get("failure_reason")),
        last_payment_error=_error(error) if isinstance(error, dict) else None,
        metadata=_metadata(metadata) if isinstance(metadata, dict) else StripeMetadata(),
    )


def _related(event: Mapping[str, Any]) -> StripeObject:
    """What a thin event is about; a ping or an import is about no object."""
    related = event.get("related_object")
    if not isinstance(related, dict):
        return StripeObject(object="")
    return StripeObject(id=_id(related.get("id")) or "", object=_id(related.get("type")) or "")


def _error(found: Mapping[str, Any]) -> StripeError:
    return StripeError(
        code=_text(found.get("code")),
        decline_code=_text(found.get("decline_code")),
        message=_text(found.get("message")),
    )


def _metadata(found: Mapping[str, Any]) -> StripeMetadata:
    return StripeMetadata(
        order_id=_id(found.get("order_id")), refund_id=_id(found.get("refund_id"))
    )


def _created(value: Any, *, thin: bool) -> int:
    """Seconds since 1970; a thin event says it in ISO 8601.

    Raises:
        NotAnEvent: it is no such time.
    """
    if thin and isinstance(value, str):
        try:
            value = int(datetime.fromisoformat(value).timestamp())
        except (ValueError, OverflowError):
            value = None
    seconds = _integer(value)
    if seconds is None or not 0 <= seconds <= _LATEST:
        raise NotAnEvent("it has no time of creation")
    return seconds


def _reference(value: Any) -> str | None:
    """The id of another object, which may stand there as a whole."""
    return _id(value.get("id")) if isinstance(value, dict) else _id(value)


def _id(value: Any) -> str | None:
    """None for what is no id: it may not be cut, nor be a key of Kafka of any length."""
    text = _text(value)
    return text if text and len(text) <= _LONGEST_ID else None


def _text(value: Any) -> str | None:
    """Text that Kafka and PostgreSQL can keep: without halves of characters and NULs."""
    if not isinstance(value, str):
        return None
    whole = value[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
    return whole.replace("\x00", "\ufffd")


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
