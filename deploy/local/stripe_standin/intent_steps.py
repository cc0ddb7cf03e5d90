"""The steps of a PaymentIntent towards its end: confirm, cancel, capture."""

from deploy.local.stripe_standin import charging, events, intents, payment_methods
from deploy.local.stripe_standin.errors import Json, invalid, unexpected_state
from deploy.local.stripe_standin.forms import (
    Parser,
    choice,
    mapping,
    optional_text,
    positive,
    read,
    text,
)
from deploy.local.stripe_standin.session import Session

_CONFIRM: dict[str, Parser] = {
    "client_secret": text,
    "receipt_email": optional_text,
    "shipping": mapping,
    **intents.PAYABLE,
    **intents.CONFIRMATION,
}
_CANCELABLE = (
    "requires_payment_method",
    "requires_capture",
    "requires_confirmation",
    "requires_action",
    "processing",
)


def confirm(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/confirm. Raises CardError when the method is declined."""
    given = read(params, _CONFIRM)
    intent = session.get("payment_intent", id_, "intent")
    intents.check_secret(intent, given)
    if intent["status"] == "succeeded":
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it has already succeeded after being "
            "previously confirmed.",
            intent,
        )
    if "payment_method" in given:
        intents.check_updatable(intent, "payment_method")
        payment_methods.check(session, given["payment_method"])
    if intent["status"] not in intents.OPEN:
        raise unexpected_state(
            f"You cannot confirm this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            "confirmed: requires_confirmation, requires_action.",
            intent,
        )
    if not intent["payment_method"] and "payment_method" not in given:
        raise unexpected_state(intents.MISSING_METHOD, intent)
    intents.take_method(session, intent, given)
    for name in ("receipt_email", "shipping", "setup_future_usage"):
        intent[name] = given.get(name, intent[name])
    intents.attempt(session, intent, given)
    return intent


def cancel(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/cancel"""
    reasons = choice("duplicate", "fraudulent", "requested_by_customer", "abandoned")
    given = read(params, {"cancellation_reason": reasons})
    intent = session.get("payment_intent", id_, "intent")
    method = payment_methods.behind(session, intent["payment_method"])
    settling = intent["status"] == "processing" and (
        method.flow is not payment_methods.Flow.PROCESS_FOREVER
    )
    if intent["status"] not in _CANCELABLE or settling:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            f"canceled: {', '.join(_CANCELABLE)}.",
            intent,
        )
    intent.update(
        status="canceled",
        canceled_at=session.now,
        cancellation_reason=given.get("cancellation_reason"),
        amount_capturable=0,
        next_action=None,
    )
    session.save(intent)
    charging.release(session, intent)
    events.emit(session, "payment_intent.canceled", intent)
    return intent


def capture(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/payment_intents/{id}/capture"""
    given = read(params, {"amount_to_capture": positive})
    intent = session.get("payment_intent", id_, "intent")
    if intent["status"] == "succeeded":
        raise unexpected_state(
            "This PaymentIntent could not be captured because it has already been captured.", intent
        )
    if intent["status"] != "requires_capture":
        raise unexpected_state(
            f"This PaymentIntent could not be captured because it has a status of "
            f"{intent['status']}. Only a PaymentIntent with one of the following statuses may be "
            "captured: requires_capture.",
            intent,
        )
    capturable: int = intent["amount_capturable"]
    amount: int = given.get("amount_to_capture", capturable)
    if amount > capturable:
        raise invalid(
            f"The provided capture amount of {amount} is greater than the capturable amount of "
            f"{capturable}.",
            param="amount_to_capture",
            code="amount_too_large",
            saved=True,
        )
    charging.capture(session, intent, amount)
    return intent
