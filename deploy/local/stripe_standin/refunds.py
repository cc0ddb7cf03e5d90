"""Refunds: money given back, once, and never more than was taken."""

from deploy.local.stripe_standin import disputes, events, lists, payment_methods
from deploy.local.stripe_standin.currencies import shown
from deploy.local.stripe_standin.errors import Json, invalid
from deploy.local.stripe_standin.forms import choice, merged, metadata, positive, read, text
from deploy.local.stripe_standin.payment_methods import RefundFlow
from deploy.local.stripe_standin.session import Session


def create(session: Session, _: str, params: Json) -> Json:
    """POST /v1/refunds of a `payment_intent` or a `charge`; without `amount` all that is left."""
    given = read(
        params,
        {
            "amount": positive,
            "charge": text,
            "metadata": metadata,
            "payment_intent": text,
            "reason": choice("duplicate", "fraudulent", "requested_by_customer"),
        },
    )
    charge = _charge_of(session, given)
    if disputes.bars_refunds(session, charge):
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.",
            code="charge_disputed",
            saved=True,
        )
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = given.get("amount", left)
    if left == 0:
        raise invalid(
            f"Charge {charge['id']} has already been refunded.",
            code="charge_already_refunded",
            saved=True,
        )
    if amount > left:
        raise invalid(
            f"Refund amount ({shown(amount, charge['currency'])}) is greater than unrefunded "
            f"amount on charge ({shown(left, charge['currency'])})",
            param="amount",
            saved=True,
        )
    flow = payment_methods.behind(session, charge["payment_method"]).refund
    refund = {
        "id": session.new_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": session.now,
        "currency": charge["currency"],
        "destination_details": {
            "card": {"type": "refund", "reference_status": "pending"},
            "type": "card",
        },
        "metadata": merged({}, given.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "reason": given.get("reason"),
        "receipt_number": None,
        "status": "pending" if flow is RefundFlow.PENDING else "succeeded",
    }
    session.insert(refund)
    events.emit(session, "refund.created", refund)
    _set_refunded(session, charge, charge["amount_refunded"] + amount, emit=True)
    if flow is not RefundFlow.AT_ONCE:
        action = "complete_refund" if flow is RefundFlow.PENDING else "fail_refund"
        session.schedule(session.settings.standin_settlement_delay, action, refund["id"])
    return refund


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/refunds/{id}"""
    read(params, {})
    return session.get("refund", id_)


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/refunds, of a `charge` or a `payment_intent`"""
    given = read(params, {**lists.PAGING, "charge": text, "payment_intent": text})
    return lists.objects(session, "refund", "/v1/refunds", given, ("charge", "payment_intent"))


def complete(session: Session, refund: Json) -> None:
    """A pending refund has reached the customer."""
    if refund["status"] == "pending":
        _move(session, refund, "succeeded")


def fail(session: Session, refund: Json, reason: str = "lost_or_stolen_card") -> None:
    """The customer's bank sent the money back: the charge is as if it had not been refunded."""
    if refund["status"] == "failed":
        return
    refund["failure_reason"] = reason
    _move(session, refund, "failed")
    events.emit(session, "refund.failed", refund)
    charge = session.get("charge", refund["charge"])
    _set_refunded(session, charge, charge["amount_refunded"] - refund["amount"], emit=False)


def fail_disputed(session: Session, refund: Json) -> None:
    """The charge was disputed while its refund was on the way."""
    if refund["status"] == "pending":
        fail(session, refund, "charge_for_pending_refund_disputed")


def _move(session: Session, refund: Json, status: str) -> None:
    previous = {"status": refund["status"]}
    refund["status"] = status
    session.save(refund)
    events.emit(session, "refund.updated", refund, previous)
    events.emit(session, "charge.refund.updated", refund, previous)


def _set_refunded(session: Session, charge: Json, amount: int, *, emit: bool) -> None:
    previous = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
    charge.update(amount_refunded=amount, refunded=amount == charge["amount_captured"])
    session.save(charge)
    if emit:
        changed = {name: was for name, was in previous.items() if charge[name] != was}
        events.emit(session, "charge.refunded", charge, changed)


def _charge_of(session: Session, given: Json) -> Json:
    if ("charge" in given) == ("payment_intent" in given):
        raise invalid(
            "One of the following params should be provided for this request: payment_intent or "
            "charge.",
            code="parameter_missing",
        )
    if "charge" in given:
        charge = session.get("charge", given["charge"], "charge")
        if not charge["captured"]:
            raise invalid(
                f"Charge {charge['id']} is not captured, so there is nothing to refund.",
                param="charge",
                saved=True,
            )
        return charge
    intent = session.get("payment_intent", given["payment_intent"], "payment_intent")
    found = session.find("charge", intent["latest_charge"])
    if intent["status"] != "succeeded" or not found:
        raise invalid(
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
            param="payment_intent",
            saved=True,
        )
    return found
