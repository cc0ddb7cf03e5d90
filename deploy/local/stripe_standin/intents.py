"""PaymentIntents: made, shown, found and changed; `intent_steps` takes them further."""

import re

from deploy.local.stripe_standin import charging, events, lists, payment_methods
from deploy.local.stripe_standin.currencies import check_amount, currency
from deploy.local.stripe_standin.errors import Json, invalid, unexpected_state
from deploy.local.stripe_standin.forms import (
    Parser,
    array,
    boolean,
    choice,
    mapping,
    merged,
    metadata,
    optional_text,
    positive,
    read,
    text,
)
from deploy.local.stripe_standin.session import Session

DESCRIPTIVE: dict[str, Parser] = {
    "description": optional_text,
    "metadata": metadata,
    "receipt_email": optional_text,
    "shipping": mapping,
    "statement_descriptor": optional_text,
    "statement_descriptor_suffix": optional_text,
    "transfer_group": text,
}
PAYABLE: dict[str, Parser] = {
    "payment_method": text,
    "payment_method_options": mapping,
    "payment_method_types": array,
    "setup_future_usage": choice("off_session", "on_session"),
}
CONFIRMATION: dict[str, Parser] = {
    "error_on_requires_action": boolean,
    "mandate_data": mapping,
    "off_session": boolean,
    "return_url": text,
    "use_stripe_sdk": boolean,
}
_CREATE: dict[str, Parser] = {
    "amount": positive,
    "currency": currency,
    "automatic_payment_methods": mapping,
    "capture_method": choice("automatic", "automatic_async", "manual"),
    "confirm": boolean,
    "confirmation_method": choice("automatic", "manual"),
    **DESCRIPTIVE,
    **PAYABLE,
    **CONFIRMATION,
}
_UPDATE: dict[str, Parser] = {
    "amount": positive,
    "currency": currency,
    **DESCRIPTIVE,
    **PAYABLE,
}

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
MISSING_METHOD = (
    "You cannot confirm this PaymentIntent because it's missing a payment method. You can either "
    "update the PaymentIntent with a payment method and then confirm it again, or confirm it "
    "again directly with a payment method or ConfirmationToken."
)


def create(session: Session, _: str, params: Json) -> Json:
    """POST /v1/payment_intents"""
    given = read(params, _CREATE, required=("amount", "currency"))
    check_amount(given["amount"], given["currency"])
    if "payment_method" in given:
        payment_methods.check(session, given["payment_method"])
    if given.get("confirm") and "payment_method" not in given:
        raise invalid(MISSING_METHOD, code="payment_intent_unexpected_state")
    id_ = session.new_id("pi")
    automatic = given.get("automatic_payment_methods")
    intent = {
        "id": id_,
        "object": "payment_intent",
        "amount": given["amount"],
        "amount_capturable": 0,
        "amount_received": 0,
        "automatic_payment_methods": _automatic(automatic) if automatic else None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": given.get("capture_method", "automatic_async"),
        "client_secret": f"{id_}_{session.new_id('secret')}",
        "confirmation_method": given.get("confirmation_method", "automatic"),
        "created": session.now,
        "currency": given["currency"],
        "customer": None,
        "description": given.get("description"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": merged({}, given.get("metadata", {})),
        "next_action": None,
        "payment_method": None,
        "payment_method_options": given.get("payment_method_options", {}),
        "payment_method_types": given.get("payment_method_types", ["card"]),
        "processing": None,
        "receipt_email": given.get("receipt_email"),
        "setup_future_usage": given.get("setup_future_usage"),
        "shipping": given.get("shipping"),
        "statement_descriptor": given.get("statement_descriptor"),
        "statement_descriptor_suffix": given.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_group": given.get("transfer_group"),
    }
    take_method(session, intent, given)
    session.insert(intent)
    events.emit(session, "payment_intent.created", intent)
    if given.get("confirm"):
        attempt(session, intent, given)
    return intent


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/payment_intents/{id}"""
    given = read(params, {"client_secret": text})
    intent = session.get("payment_intent", id_, "intent")
    check_secret(intent, given)
    return intent


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/payment_intents"""
    given = read(params, lists.PAGING)
    return lists.objects(session, "payment_intent", "/v1/payment_intents", given)


def search(session: Session, _: str, params: Json) -> Json:
    """GET /v1/payment_intents/search by `metadata['order_id']:'...'`. As at Stripe, the index lags
    behind: an intent is found when it is `standin_search_delay` seconds old."""
    given = read(params, {"query": text, "limit": lists.limit}, required=("query",))
    match = re.fullmatch(r"""metadata\[(['"])order_id\1\]\s*:\s*(['"])(.*)\2""", given["query"])
    if not match:
        raise invalid("The stand-in searches metadata['order_id']:'...' only.", param="query")
    rows = session.db.execute(
        """
        SELECT created, seq, body FROM objects
        WHERE order_id = ? AND kind = 'payment_intent' AND created <= ?
        ORDER BY created DESC, seq DESC LIMIT ?
        """,
        (
            match[3],
            session.time - session.settings.standin_search_delay,
            given.get("limit", 10) + 1,
        ),
    ).fetchall()
    part = lists.Window("", [], given.get("limit", 10), backwards=False)
    found = part.answer("/v1/payment_intents/search", rows, lists.parsed)
    return {**found, "object": "search_result", "next_page": None}


def update(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/payment_intents/{id}"""
    given = read(params, _UPDATE)
    intent = session.get("payment_intent", id_, "intent")
    for name in ("amount", "currency", "payment_method"):
        if name in given:
            check_updatable(intent, name)
    payable = intent | given
    check_amount(payable["amount"], payable["currency"])
    if "payment_method" in given:
        payment_methods.check(session, given["payment_method"])
    take_method(session, intent, given)
    intent["metadata"] = {} if params.get("metadata") == "" else _merged_metadata(intent, given)
    simple = set(_UPDATE) - {"payment_method", "metadata"}
    intent.update({name: value for name, value in given.items() if name in simple})
    session.save(intent)
    return intent


def attempt(session: Session, intent: Json, given: Json) -> None:
    charging.attempt(
        session,
        intent,
        off_session=given.get("off_session", False),
        error_on_action=given.get("error_on_requires_action", False),
    )


def take_method(session: Session, intent: Json, given: Json) -> None:
    if "payment_method" in given:
        method = payment_methods.attach(session, given["payment_method"], intent["id"])
        intent.update(payment_method=method["id"], status="requires_confirmation")


def _merged_metadata(intent: Json, given: Json) -> dict[str, str]:
    return merged(intent["metadata"], given.get("metadata", {}))


def _automatic(given: Json) -> Json | None:
    if not boolean("automatic_payment_methods[enabled]", given.get("enabled")):
        return None
    return {"enabled": True, "allow_redirects": given.get("allow_redirects", "always")}


def check_secret(intent: Json, given: Json) -> None:
    if "client_secret" in given and given["client_secret"] != intent["client_secret"]:
        raise invalid(
            "The client_secret provided does not match the client_secret associated with the "
            "PaymentIntent.",
            code="payment_intent_invalid_parameter",
            param="client_secret",
        )


def check_updatable(intent: Json, field: str) -> None:
    if intent["status"] not in OPEN:
        raise unexpected_state(
            f"This PaymentIntent's {field} could not be updated because it has a status of "
            f"{intent['status']}. You may only update the {field} of a PaymentIntent with one of "
            f"the following statuses: {', '.join(OPEN)}.",
            intent,
        )
