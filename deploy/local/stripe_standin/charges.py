"""Charges: what each payment attempt leaves; `charging` decides what becomes of them."""

from deploy.local.stripe_standin import lists, payment_methods
from deploy.local.stripe_standin.errors import Json
from deploy.local.stripe_standin.forms import read, text
from deploy.local.stripe_standin.payment_methods import Behaviour
from deploy.local.stripe_standin.session import Session


def open_(session: Session, intent: Json, method: Behaviour, status: str) -> Json:
    """Make the charge of a payment attempt; it is then the intent's latest one."""
    charge = {
        "id": session.new_id("ch" if method.type == "card" else "py"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0,
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": False,
        "created": session.now,
        "currency": intent["currency"],
        "customer": None,
        "description": intent["description"],
        "disputed": False,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "seller_message": "Payment complete.",
            "type": "authorized",
        },
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": intent["payment_method"],
        "payment_method_details": {
            "type": method.type,
            **payment_methods.details(method),
        },
        "receipt_email": intent["receipt_email"],
        "receipt_url": None,
        "refunded": False,
        "shipping": intent["shipping"],
        "status": status,
    }
    session.insert(charge)
    intent["latest_charge"] = charge["id"]
    return charge


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/charges/{id}"""
    read(params, {})
    return session.get("charge", id_)


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/charges, of a `payment_intent`"""
    given = read(params, {**lists.PAGING, "payment_intent": text})
    return lists.objects(session, "charge", "/v1/charges", given, ("payment_intent",))
