"""Disputes: opened by a test card or the control interface, won or lost by the evidence.

As in Stripe's test mode, `evidence[uncategorized_text]` of `winning_evidence` or
`losing_evidence` decides, once it is submitted. The control interface moves them without evidence.
An inquiry (`warning_...`) takes no money and bars no refund; it ends, or becomes a dispute. Of a
disputed charge no refund can be made, and a pending one fails, unless the dispute was won.
"""

from deploy.local.stripe_standin import events, lists
from deploy.local.stripe_standin.errors import Json, invalid
from deploy.local.stripe_standin.forms import boolean, mapping, merged, metadata, read, text
from deploy.local.stripe_standin.session import Session

_VERDICTS = {"winning_evidence": "won", "losing_evidence": "lost"}
_RESPONSE_SECONDS = 7 * 86_400

_BARS_REFUNDS = ("needs_response", "under_review", "lost")
_ENDS = ("won", "lost", "warning_closed")
_NEXT = {
    "warning_needs_response": ("warning_under_review", "warning_closed", "needs_response"),
    "warning_under_review": ("warning_closed", "needs_response"),
    "needs_response": ("under_review", "won", "lost"),
    "under_review": ("won", "lost"),
}


def bars_refunds(session: Session, charge: Json) -> bool:
    """Whether a dispute of the charge is open or lost."""
    return any(
        dispute["status"] in _BARS_REFUNDS for dispute in session.of_charge("dispute", charge["id"])
    )


def move(session: Session, dispute: Json, status: str) -> Json:
    """The bank, or the merchant's evidence, brings the dispute to this status."""
    if status not in _NEXT.get(dispute["status"], ()):
        raise invalid(f"A dispute that is {dispute['status']} cannot become {status}.")
    if status in _ENDS:
        _end(session, dispute, status)
        return dispute
    escalates = dispute["status"].startswith("warning_") and not status.startswith("warning_")
    previous = {"status": dispute["status"]}
    dispute.update(status=status, is_charge_refundable=status.startswith("warning_"))
    session.save(dispute)
    events.emit(session, "charge.dispute.updated", dispute, previous)
    if escalates:
        _withdraw(session, dispute)
    return dispute


def open_(
    session: Session,
    charge: Json,
    reason: str,
    amount: int | None = None,
    *,
    inquiry: bool = False,
) -> Json:
    """The customer's bank disputes a charge, or `amount` (minor units) of it; or first inquires."""
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
        "is_charge_refundable": inquiry,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "warning_needs_response" if inquiry else "needs_response",
    }
    session.insert(dispute)
    charge["disputed"] = True
    session.save(charge)
    events.emit(session, "charge.dispute.created", dispute)
    if not inquiry:
        _withdraw(session, dispute)
    return dispute


def _withdraw(session: Session, dispute: Json) -> None:
    events.emit(session, "charge.dispute.funds_withdrawn", dispute)
    for refund in session.of_charge("refund", dispute["charge"]):
        if refund["status"] == "pending":
            session.schedule(0, "fail_disputed_refund", refund["id"])


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
    dispute.update(status=verdict, is_charge_refundable=verdict != "lost")
    session.save(dispute)
    events.emit(session, "charge.dispute.closed", dispute, previous)
    if verdict == "won":
        events.emit(session, "charge.dispute.funds_reinstated", dispute)


def _check_open(dispute: Json) -> None:
    if dispute["status"] in _ENDS:
        raise invalid("This dispute is already closed", saved=True)
