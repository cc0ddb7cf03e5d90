"""What a payment attempt does to an intent and its charge.

Every function changes the intent it is given, saves it and its charge, and emits the events.
"""

from deploy.local.stripe_standin import charges, disputes, events, payment_methods
from deploy.local.stripe_standin.errors import CardError, Json
from deploy.local.stripe_standin.payment_methods import Behaviour, Decline, Flow
from deploy.local.stripe_standin.session import Session

_AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    "authentication_required",
)
_AUTHENTICATION_FAILED = {
    "type": "invalid_request_error",
    "code": "payment_intent_authentication_failure",
    "doc_url": "https://stripe.com/docs/error-codes/payment-intent-authentication-failure",
    "message": "The provided PaymentMethod has failed authentication. You can provide "
    "payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again.",
}


def attempt(session: Session, intent: Json, *, off_session: bool, error_on_action: bool) -> None:
    """Charge the intent's payment method.

    Raises CardError when it is declined; the intent then wants another payment method.
    """
    method = payment_methods.behind(session, intent["payment_method"])
    intent["last_payment_error"] = None
    if method.flow is Flow.AUTHENTICATE and off_session:
        raise _refuse(session, intent, method, _AUTHENTICATION_REQUIRED)
    if method.flow is Flow.AUTHENTICATE and error_on_action:
        raise _refuse(session, intent, method, _AUTHENTICATION_REQUIRED, charged=False)
    if method.flow is Flow.AUTHENTICATE:
        _move(session, intent, "requires_action", next_action=_next_action(intent))
    elif method.flow in (Flow.PROCESS, Flow.PROCESS_FOREVER):
        charge = charges.open_(session, intent, method, "pending")
        _move(session, intent, "processing", next_action=None)
        events.emit(session, "charge.pending", charge)
        if method.flow is Flow.PROCESS:
            session.schedule(session.settings.standin_settlement_delay, "settle", intent["id"])
    elif method.decline:
        raise _refuse(session, intent, method, method.decline)
    else:
        _accept(session, intent, method)


def authenticate(session: Session, intent: Json, *, success: bool) -> None:
    """The customer has passed or failed authentication; the intent must want it."""
    method = payment_methods.behind(session, intent["payment_method"])
    if not success:
        error = {**_AUTHENTICATION_FAILED, "payment_method": _method(session, intent)}
        _want_another_method(session, intent, error)
    elif method.decline:
        _refuse(session, intent, method, method.decline)
    else:
        _accept(session, intent, method)


def settle(session: Session, intent: Json) -> None:
    """The bank has answered for a processing intent."""
    method = payment_methods.behind(session, intent["payment_method"])
    if method.decline:
        _refuse(session, intent, method, method.decline)
    else:
        succeed(session, intent)


def succeed(session: Session, intent: Json) -> None:
    """The money has arrived, whatever the intent's status was."""
    method = payment_methods.behind(session, intent["payment_method"])
    charge = _current_charge(session, intent, method, "succeeded")
    charge.update(status="succeeded", paid=True, captured=True)
    charge["amount_captured"] = charge["amount"]
    session.save(charge)
    events.emit(session, "charge.succeeded", charge)
    _receive(session, intent, charge["amount"])
    if method.dispute_reason:
        disputes.open_(session, charge, method.dispute_reason)


def fail(session: Session, intent: Json) -> None:
    """The bank refuses a processing intent."""
    method = payment_methods.behind(session, intent["payment_method"])
    decline = method.decline or payment_methods.GENERIC_DECLINE
    _refuse(session, intent, method, decline)


def capture(session: Session, intent: Json, amount: int) -> None:
    """Take `amount` (minor units) of what is held; the rest is given back."""
    charge = session.get("charge", intent["latest_charge"])
    charge.update(captured=True, amount_captured=amount)
    session.save(charge)
    events.emit(session, "charge.captured", charge, {"captured": False, "amount_captured": 0})
    _receive(session, intent, amount)


def release(session: Session, intent: Json) -> None:
    """Give up the charge of an intent that is being cancelled, if there is one."""
    charge = session.find("charge", intent["latest_charge"])
    if charge is None:
        return
    if charge["status"] == "pending":
        charge.update(status="failed", failure_code="canceled", failure_message="Canceled.")
        session.save(charge)
        events.emit(session, "charge.failed", charge)
    elif charge["status"] == "succeeded":
        charge.update(refunded=True, amount_refunded=charge["amount"])
        session.save(charge)
        events.emit(session, "charge.refunded", charge, {"refunded": False, "amount_refunded": 0})


def _accept(session: Session, intent: Json, method: Behaviour) -> None:
    if intent["capture_method"] != "manual":
        succeed(session, intent)
        return
    charge = charges.open_(session, intent, method, "succeeded")
    intent["amount_capturable"] = intent["amount"]
    _move(session, intent, "requires_capture", emit=False, next_action=None)
    events.emit(session, "charge.succeeded", charge)
    events.emit(
        session, "payment_intent.amount_capturable_updated", intent, {"amount_capturable": 0}
    )


def _receive(session: Session, intent: Json, amount: int) -> None:
    _move(
        session,
        intent,
        "succeeded",
        amount_received=amount,
        amount_capturable=0,
        canceled_at=None,
        cancellation_reason=None,
        last_payment_error=None,
        next_action=None,
    )


def _refuse(
    session: Session, intent: Json, method: Behaviour, decline: Decline, *, charged: bool = True
) -> CardError:
    """Record the refusal; the caller raises the error where somebody waits for an answer."""
    error: Json = {
        "type": "card_error",
        "code": decline.code,
        "decline_code": decline.decline_code,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        "payment_method": _method(session, intent),
    }
    if charged:
        charge = _current_charge(session, intent, method, "failed")
        charge.update(
            status="failed",
            failure_code=decline.code,
            failure_message=decline.message,
            outcome={
                "network_status": "declined_by_network",
                "reason": decline.decline_code,
                "risk_level": "normal",
                "seller_message": "The bank did not return any further details with this decline.",
                "type": "issuer_declined",
            },
        )
        session.save(charge)
        error["charge"] = charge["id"]
        events.emit(session, "charge.failed", charge)
    _want_another_method(session, intent, error)
    return CardError(error, intent)


def _want_another_method(session: Session, intent: Json, error: Json) -> None:
    intent.update(
        status="requires_payment_method",
        last_payment_error=error,
        payment_method=None,
        next_action=None,
    )
    session.save(intent)
    events.emit(session, "payment_intent.payment_failed", intent)


def _move(
    session: Session, intent: Json, status: str, *, emit: bool = True, **changes: object
) -> None:
    intent.update(status=status, **changes)
    session.save(intent)
    if emit:
        events.emit(session, f"payment_intent.{status}", intent)


def _method(session: Session, intent: Json) -> Json | None:
    return session.find("payment_method", intent["payment_method"])


def _next_action(intent: Json) -> Json:
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {
            "type": "three_d_secure_redirect",
            "stripe_js": f"/_control/payment_intents/{intent['id']}/authenticate",
        },
    }


def _current_charge(session: Session, intent: Json, method: Behaviour, status: str) -> Json:
    """The charge that is pending, else a new one."""
    charge = session.find("charge", intent["latest_charge"])
    if charge and charge["status"] == "pending":
        return charge
    return charges.open_(session, intent, method, status)
