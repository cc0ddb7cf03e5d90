"""What commands and Stripe's answers do to a payment. Pure: the payment changes in place, under the
row lock that its caller holds, and what is to be said is returned.

Cancel first, then release: PaymentCanceled is said only when Stripe has confirmed it, or when
there is no intent and none can come to be: its call was never started, or finally refused.

`settling` has the one way in which a payment is settled, `refund_rules` the refunds, `event_rules`
the meaning of each webhook.
"""

from dataclasses import replace
from uuid import UUID

from contracts.payment import (
    PaymentCanceled,
)
from services.payment import refund_rules, replies, settling
from services.payment.model import (
    Call,
    CallKind,
    NewCall,
    Payment,
    RefundStatus,
    Result,
    Status,
    Terms,
    Verdict,
)
from services.payment.provider import (
    Intent,
    MadeRefund,
    StripeRefused,
    StripeUnexpectedState,
)
from services.payment.settling import said

# -- commands ----------------------------------------------------------------------------------


def cancel(payment: Payment, *, never_started: bool) -> Verdict:
    """Nobody is to pay any more. `never_started`: the call that would have made the intent is
    withdrawn, no worker has taken it."""
    if payment.status is Status.REFUSED and not payment.amount_received:
        return said(PaymentCanceled(order_id=payment.order_id, payment_intent_id=None))
    if payment.ended:
        return said(*replies.standing(payment))
    if never_started:
        payment.status = Status.CANCELED
        payment.calling = False
        return said(*replies.standing(payment))
    payment.cancel_requested = True
    return said()


def check(payment: Payment) -> Verdict:
    """Nothing was heard of the payment for long: Stripe is to be asked, unless it has ended or a
    call is under way, whose answer tells as much."""
    unsettled = (RefundStatus.PENDING, RefundStatus.FAILING)
    waits = not payment.ended or any(
        refund.status in unsettled for refund in payment.refunds.values()
    )
    if waits and not payment.calling:
        payment.check_requested = True
    return said()


def check_now(payment: Payment) -> Verdict:
    """Somebody wants to know: Stripe is asked whatever is known here, unless a call is under way,
    whose answer tells as much, or there is no intent to ask for."""
    if payment.payment_intent_id is not None and not payment.calling:
        payment.check_requested = True
    return said(*replies.standing(payment))


def next_call(payment: Payment) -> NewCall | None:
    """The call that the payment needs now, if it has none under way."""
    if payment.calling:
        return None
    if payment.status is Status.CREATING and payment.payment_intent_id is None:
        parameters = {"amount": payment.amount, "currency": payment.currency}
        return _call(payment, CallKind.CREATE_INTENT, parameters)
    if payment.status is Status.CREATING or payment.check_requested:
        payment.check_requested = False
        return _call(payment, CallKind.RETRIEVE_INTENT, {})
    if payment.cancel_requested and not payment.ended:
        return _call(payment, CallKind.CANCEL_INTENT, {})
    for refund in payment.refunds.values():
        if refund.to_make:
            parameters = {"amount": refund.amount, "refund_id": str(refund.refund_id)}
            return _call(payment, CallKind.CREATE_REFUND, parameters)
    return None


def _call(payment: Payment, kind: CallKind, parameters: dict[str, object]) -> NewCall:
    # Numbered, because a call that is decided anew must not get the stored answer of an old one.
    payment.calling = True
    payment.calls += 1
    return NewCall(
        payment.order_id, kind, parameters, f"order:{payment.order_id}:{payment.calls}:{kind}"
    )


# -- answers of Stripe -------------------------------------------------------------------------

Answer = Intent | MadeRefund | StripeRefused | StripeUnexpectedState


def answered(payment: Payment, call: Call, answer: Answer, terms: Terms) -> Verdict:
    """A call has its final answer."""
    payment.calling = False
    if isinstance(answer, MadeRefund):
        return refund_rules.made(payment, UUID(call.parameters["refund_id"]), answer)
    if call.kind is CallKind.CREATE_REFUND:
        message, code = str(answer), getattr(answer, "code", None)
        return refund_rules.refused(payment, UUID(call.parameters["refund_id"]), message, code)
    if isinstance(answer, StripeRefused):
        return _refused(payment, call, answer)
    intent = answer.intent if isinstance(answer, StripeUnexpectedState) else answer
    if call.kind is not CallKind.RETRIEVE_INTENT:
        # Under an idempotency key it may be an old answer, and sums of refunds move both ways.
        intent = replace(intent, amount_refunded=None)
    if payment.status is Status.CREATING or call.kind is CallKind.CREATE_INTENT:
        verdict = created(payment, intent, terms)
    else:
        verdict = settling.settle(payment, intent, terms, asked=True)
    if call.kind is CallKind.CANCEL_INTENT:
        payment.cancel_requested = False
        if not payment.ended and not verdict.messages:
            verdict.messages.append(replies.updated(payment))
    if verdict.outcome is Result.PARKED:
        payment.problem = verdict.reason
    return verdict


def created(payment: Payment, intent: Intent, terms: Terms) -> Verdict:
    """The intent exists, says Stripe to the call that asked for it.

    The answer may be a repeat from when the intent was new, so the state comes from it only where
    no event has told of a later one. If an event told of another intent than this one (a repeat
    after Stripe forgot the key), the first one stands, and is retrieved next; nobody has this
    one's client secret, so nobody can pay it.
    """
    if payment.payment_intent_id not in (None, intent.id):
        return Verdict(Result.STALE, reason=f"intent {payment.payment_intent_id} was there first")
    payment.payment_intent_id = intent.id
    payment.client_secret = intent.client_secret
    payment.intent_status = payment.intent_status or intent.status
    overtaken = payment.status is not Status.CREATING
    if not overtaken:
        payment.status = Status.OPEN
    if intent.status in ("succeeded", "canceled"):
        return settling.settle(payment, intent, terms, asked=True)
    if overtaken or payment.cancel_requested:
        return said()
    return said(replies.created(payment))


def _refused(payment: Payment, call: Call, answer: StripeRefused) -> Verdict:
    verdict = Verdict(Result.APPLIED, reason=answer.message)
    if call.kind is CallKind.CREATE_INTENT and payment.payment_intent_id is None:
        payment.status = Status.REFUSED
        payment.failure_message, payment.failure_code = answer.message, answer.code
        if payment.cancel_requested:
            verdict.messages = cancel(payment, never_started=False).messages
        else:
            verdict.messages = replies.standing(payment)
        return verdict
    # Not an answer about the payment: an unknown intent, a key of another account.
    payment.problem = f"{call.kind} refused by Stripe: {answer.message}"
    payment.cancel_requested = False
    if payment.payment_intent_id is not None and not payment.ended:
        verdict.messages = [replies.updated(payment, message=answer.message)]
    return verdict
