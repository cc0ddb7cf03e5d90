"""Disputes: opened by a test card or the control interface, won or lost by the evidence.

As in Stripe's test mode, `evidence[uncategorized_text]` of `winning_evidence` or
`losing_evidence` decides, once it is submitted.
"""

from deploy.local.stripe_standin import events, lists
from deploy.local.stripe_standin.errors import Json, invalid
from deploy.local.stripe_standin.forms import boolean, mapping, merged, metadata, read, text
from deploy.local.stripe_standin.session import Session

_VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}
_RESPONSE_SECONDS = 7 * 86_400


def open_(session: Session, charge: Json, reason: str, amount: int | None = None) -> Json:
    """The customer's bank disputes a charge, or `amount` (minor units) of it."""
    if charge["disputed"]:
        raise invalid(f"Charge {charge['id']} is disputed already.", saved=True)
    dispute = {
        "id": session.new_id("du"),
        "object": "dispute",
        "amount": charge["amount_captured"] if amount is None else amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": session.now,
        "currency": charge["currency"],
        "evidence": {},
        "evidence_details": {
            "due_by": session.now + _RESPONSE_SECONDS,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "needs_response",
    }
    session.insert(dispute)
    charge["disputed"] = True
    session.save(charge)
    events.emit(session, "charge.dispute.created", dispute)
    events.emit(session, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/disputes/{id}"""
    read(params, {})
    return session.get("dispute", id_)


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/disputes, of a `charge` or a `payment_intent`"""
    given = read(params, {**lists.PAGING, "charge": text, "payment_intent": text})
    return lists.objects(session, "dispute", "/v1/disputes", given, ("charge", "payment_intent"))


def update(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/disputes/{id}"""
    given = read(params, {"evidence": mapping, "metadata": metadata, "submit": boolean})
    dispute = session.get("dispute", id_)
    _check_open(dispute)
    dispute["metadata"] = merged(dispute["metadata"], given.get("metadata", {}))
    previous: Json = {}
    if "evidence" in given:
        previous["evidence"] = dict(dispute["evidence"])
        dispute["evidence"].update(given["evidence"])
        dispute["evidence_details"]["has_evidence"] = True
        if given.get("submit", True):
            previous["status"] = dispute["status"]
            dispute["status"] = "under_review"
            dispute["evidence_details"]["submission_count"] += 1
    session.save(dispute)
    events.emit(session, "charge.dispute.updated", dispute, previous)
    verdict = _VERDICTS.get(dispute["evidence"].get("uncategorized_text", ""))
    if dispute["status"] == "under_review" and verdict:
        _end(session, dispute, verdict)
    return dispute


def close(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/disputes/{id}/close: the merchant accepts the loss."""
    read(params, {})
    dispute = session.get("dispute", id_)
    _check_open(dispute)
    _end(session, dispute, "lost")
    return dispute


def _end(session: Session, dispute: Json, verdict: str) -> None:
    previous = {"status": dispute["status"]}
    dispute["status"] = verdict
    session.save(dispute)
    events.emit(session, "charge.dispute.closed", dispute, previous)
    if verdict == "won":
        events.emit(session, "charge.dispute.funds_reinstated", dispute)


def _check_open(dispute: Json) -> None:
    if dispute["status"] in ("won", "lost"):
        raise invalid("This dispute is already closed", saved=True)
