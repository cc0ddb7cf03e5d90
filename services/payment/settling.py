"""There is one way in which a payment is settled, `settle`. Pure.

It goes by what Stripe says about the intent (absolute values), guarded by the payment's own state,
never by the order in which news arrives. An answer under an idempotency key may be a repeat of an
old one and an event may be late, so neither moves a payment backwards: `created`, `failed` and
`processing` never overwrite `succeeded` or `canceled`.

A success for a payment that is `canceled` or `refused` contradicts what the order was told. Stripe
is asked for the truth. If the money is really there, it is recorded in `amount_received` and
PaymentSucceeded is said, so that the order sends it back; the status stays, because it says what
was promised, while the amounts say where the money is. Everything that decides about money
(refunds, repeated commands) goes by the amounts.
"""

from contracts.message import Message
from services.payment import refund_rules, replies
from services.payment.model import Payment, Result, Status, Terms, Verdict
from services.payment.provider import Intent


def settle(payment: Payment, intent: Intent, terms: Terms, *, asked: bool) -> Verdict:
    """Apply what Stripe says about an intent.

    `asked`: it is the answer to a question of ours and so the truth at that time; otherwise it is
    an event, which is only a hint when it contradicts an end state.
    """
    if payment.payment_intent_id not in (None, intent.id):
        if intent.status == "succeeded":
            return _for_people(f"a second intent of the order, {intent.id}, was paid")
        return Verdict(Result.STALE, reason=f"about {intent.id}, not the payment's intent")
    if intent.status == "succeeded":
        return _succeed(payment, intent, terms, asked=asked)
    if payment.ended:
        return Verdict(Result.STALE, reason=f"{intent.status} after {payment.status}")
    if intent.status == "canceled":
        payment.payment_intent_id = intent.id
        payment.intent_status = intent.status
        payment.status = Status.CANCELED
        payment.cancel_requested = False
        return said(*replies.standing(payment))
    if asked and _declined_unheard(payment, intent):
        return fail(payment, intent, terms)
    return _move(payment, intent)


def fail(payment: Payment, intent: Intent, terms: Terms) -> Verdict:
    """An attempt to pay was declined. Stripe would take another one; the policy decides."""
    if payment.payment_intent_id not in (None, intent.id):
        return Verdict(Result.STALE, reason=f"about {intent.id}, not the payment's intent")
    if payment.ended:
        return Verdict(Result.STALE, reason=f"a failed attempt after {payment.status}")
    payment.payment_intent_id = intent.id
    payment.intent_status = intent.status
    payment.failure_message = intent.error_message or "The payment failed."
    payment.failure_code = intent.error_code
    if terms.policy == "cancel":
        payment.status = Status.FAILED
        return said(replies.failed(payment))
    return said(replies.updated(payment, message=payment.failure_message))


def adopt(payment: Payment, intent: Intent) -> Verdict:
    """An event told of the intent before the answer to our own call did. Its id is worth having:
    if that answer is lost, the intent is retrieved instead of made again."""
    if payment.status is not Status.CREATING or payment.payment_intent_id is not None:
        return Verdict(Result.STALE, reason="the intent is known")
    if (intent.amount, intent.currency) != (payment.amount, payment.currency):
        return Verdict(Result.STALE, reason=f"{intent.id} is not what was asked for")
    payment.payment_intent_id = intent.id
    return said()


def _succeed(payment: Payment, intent: Intent, terms: Terms, *, asked: bool) -> Verdict:
    if mismatch := _mismatch(payment, intent, terms):
        return _for_people(mismatch)
    verdict = Verdict(Result.STALE, reason="known")
    if not payment.amount_received:
        payment.payment_intent_id = intent.id
        if payment.ended and not asked:
            payment.check_requested = True
            return Verdict(Result.CHECKING, reason=f"succeeded after {payment.status}")
        payment.amount_received = payment.amount
        payment.intent_status = intent.status
        payment.cancel_requested = False
        if not payment.ended:
            payment.status = Status.SUCCEEDED
        verdict = Verdict(
            Result.APPLIED, [replies.succeeded(payment), *replies.refunded_so_far(payment)]
        )
    if asked and intent.amount_refunded is not None:
        verdict.messages += refund_rules.recount(payment, intent.amount_refunded)
    return verdict


def _mismatch(payment: Payment, intent: Intent, terms: Terms) -> str | None:
    asked_for = (payment.amount, payment.currency, terms.livemode)
    seen = (intent.amount_received, intent.currency, intent.livemode)
    if asked_for == seen:
        return None
    return (
        f"{intent.id} succeeded with (amount received, currency, live mode) {seen}, "
        f"but the payment asks for {asked_for}"
    )


def _declined_unheard(payment: Payment, intent: Intent) -> bool:
    """An attempt to pay was declined, and the event that says so has not come."""
    declined = intent.status == "requires_payment_method" and intent.error_message is not None
    return declined and payment.failure_message is None


def _move(payment: Payment, intent: Intent) -> Verdict:
    payment.payment_intent_id = intent.id
    if payment.intent_status == intent.status:
        return Verdict(Result.STALE, reason="known")
    payment.intent_status = intent.status
    if payment.status is Status.CREATING:  # the answer to our call is still to come, and tells
        return said()
    return said(replies.updated(payment))


def said(*messages: Message) -> Verdict:
    return Verdict(Result.APPLIED, list(messages))


def _for_people(reason: str) -> Verdict:
    return Verdict(Result.PARKED, reason=reason)
