"""What each Stripe event means for its payment. Pure, like `rules`.

Types that are not here are stored as ignored, and so is everything that Stripe may invent later.
"""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from contracts.stripe import StripeEventReceived, StripeObject
from services.payment import refund_rules, settling
from services.payment.model import Payment, Result, Terms, Verdict
from services.payment.provider import Intent, MadeRefund


def order_of(event: StripeEventReceived) -> UUID | None:
    """The order that the object names, if it is one of this system: ours are UUIDs."""
    return _uuid(event.object.metadata.order_id)


def heeds(event: StripeEventReceived) -> bool:
    """Whether events of this type can change a payment."""
    return event.event_type in _RULES


def decide(payment: Payment | None, event: StripeEventReceived, terms: Terms) -> Verdict:
    """Apply an event to the payment that it is about."""
    rule = _RULES.get(event.event_type)
    if rule is None:
        return Verdict(Result.IGNORED)
    if not event.object.id:
        return Verdict(Result.PARKED, reason="the object of the event has no id")
    if payment is None:
        order_id = order_of(event)
        if order_id is None:
            return Verdict(Result.FOREIGN, reason="not about an order of ours")
        return Verdict(Result.PARKED, reason=f"there is no payment of order {order_id}")
    if event.livemode != terms.livemode:
        mode = "live" if event.livemode else "test"
        return Verdict(Result.PARKED, reason=f"a {mode} mode event, but the key in use is not")
    return rule(payment, event, terms)


def _intent_created(payment: Payment, event: StripeEventReceived, _terms: Terms) -> Verdict:
    return settling.adopt(payment, _intent(event, "requires_payment_method"))


def _intent_moved(payment: Payment, event: StripeEventReceived, terms: Terms) -> Verdict:
    # The type says what happened; the object's status may be missing.
    status = event.event_type.removeprefix("payment_intent.")
    return settling.settle(payment, _intent(event, status), terms, asked=False)


def _attempt_failed(payment: Payment, event: StripeEventReceived, terms: Terms) -> Verdict:
    return settling.fail(payment, _intent(event, "requires_payment_method"), terms)


def _charge_refunded(payment: Payment, event: StripeEventReceived, _terms: Terms) -> Verdict:
    charge = event.object
    if charge.intent_id is not None and payment.payment_intent_id not in (None, charge.intent_id):
        return Verdict(Result.STALE, reason=f"about {charge.intent_id}")
    if charge.amount_refunded is None:
        return Verdict(Result.PARKED, reason="the charge does not say how much is refunded")
    if not payment.amount_received:
        # The success has not arrived yet: Stripe is asked for both.
        payment.payment_intent_id = payment.payment_intent_id or charge.intent_id
        payment.check_requested = payment.payment_intent_id is not None
        return Verdict(Result.CHECKING, reason="refunded before it succeeded")
    if charge.amount_refunded > payment.amount_received:
        reason = f"{charge.amount_refunded} refunded of {payment.amount_received} received"
        return Verdict(Result.PARKED, reason=reason)
    return refund_rules.observe(payment, charge.amount_refunded)


def _refund_moved(payment: Payment, event: StripeEventReceived, _terms: Terms) -> Verdict:
    refund = event.object
    failed = event.event_type == "refund.failed"
    made = MadeRefund(
        id=refund.id,
        status="failed" if failed else refund.status or "",
        amount=refund.amount or 0,
        failure_reason=refund.failure_reason,
    )
    return refund_rules.moved(payment, made, _uuid(refund.metadata.refund_id))


def _dispute_moved(payment: Payment, event: StripeEventReceived, _terms: Terms) -> Verdict:
    """A flag for people while it is open. When it ends, the bank has decided about the money: what
    is lost has gone back to the customer, though not as a refund."""
    dispute = event.object
    if dispute.status is None:
        return Verdict(Result.PARKED, reason="the dispute does not say how it stands")
    known = payment.disputes.get(dispute.id)
    overtaken = known is not None and event.event_type == "charge.dispute.created"
    reopens = known in _DISPUTE_ENDS and dispute.status not in _DISPUTE_ENDS
    if overtaken or reopens or known == dispute.status:
        return Verdict(Result.STALE, reason=f"the dispute is {known}")
    payment.disputes = payment.disputes | {dispute.id: dispute.status}
    payment.disputed = not _DISPUTE_ENDS.issuperset(payment.disputes.values())
    why = f" ({dispute.reason})" if dispute.reason else ""
    verdict = Verdict(Result.APPLIED, reason=f"dispute {dispute.id}{why} is {dispute.status}")
    amount = payment.amount if dispute.amount is None else dispute.amount
    if dispute.status == "lost":
        verdict.messages = refund_rules.lose(payment, amount)
    elif dispute.status in _DISPUTE_ENDS:
        lost_before = amount if known == "lost" else 0
        message = f"The dispute {dispute.id} is {dispute.status}: a refund is possible again."
        verdict.messages = refund_rules.win(payment, lost_before, message)
    return verdict


def _intent(event: StripeEventReceived, status: str) -> Intent:
    seen: StripeObject = event.object
    error = seen.last_payment_error
    return Intent(
        id=seen.id,
        status=status,
        amount=seen.amount,
        currency=seen.currency,
        amount_received=seen.amount_received,
        livemode=event.livemode,
        error_message=error.message if error else None,
        error_code=(error.decline_code or error.code) if error else None,
    )


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


_DISPUTE_ENDS: Final = frozenset({"won", "lost", "warning_closed", "prevented"})

_RULES: Final[dict[str, Callable[[Payment, StripeEventReceived, Terms], Verdict]]] = {
    "payment_intent.created": _intent_created,
    "payment_intent.succeeded": _intent_moved,
    "payment_intent.canceled": _intent_moved,
    "payment_intent.processing": _intent_moved,
    "payment_intent.requires_action": _intent_moved,
    "payment_intent.payment_failed": _attempt_failed,
    "charge.refunded": _charge_refunded,
    "refund.failed": _refund_moved,
    "refund.updated": _refund_moved,
    "charge.refund.updated": _refund_moved,
    "charge.dispute.created": _dispute_moved,
    "charge.dispute.funds_withdrawn": _dispute_moved,
    "charge.dispute.updated": _dispute_moved,
    "charge.dispute.funds_reinstated": _dispute_moved,
    "charge.dispute.closed": _dispute_moved,
}

TYPES: Final = tuple(_RULES)
"""What can change a payment; Stripe lists events of at most 20 types at once."""
