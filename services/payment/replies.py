"""What the service says about a payment, from what the payment is. Pure."""

from uuid import UUID

from contracts.message import Message
from contracts.payment import (
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentUpdated,
    RefundFailed,
    RefundPossible,
)
from services.payment.model import Payment, Status


def standing(payment: Payment) -> list[Message]:
    """Where the payment is: the answer to whoever asks again. Nothing while the first answer is
    still to come."""
    order_id, intent_id = payment.order_id, payment.payment_intent_id
    if payment.amount_received:
        return [succeeded(payment), *refunded_so_far(payment)]
    match payment.status:
        case Status.CANCELED:
            return [PaymentCanceled(order_id=order_id, payment_intent_id=intent_id)]
        case Status.FAILED | Status.REFUSED:
            return [failed(payment)]
        case Status.OPEN:
            return [created(payment)]
        case _:
            return []


def refunded_so_far(payment: Payment) -> list[Message]:
    """What has been given back, or lost by a dispute, if anything."""
    return [gone_back(payment)] if payment.amount_refunded or payment.lost else []


def gone_back(payment: Payment, refund_id: UUID | None = None) -> Message:
    """What has been given back, or lost by a dispute; `refund_id` is the refund that is made."""
    if payment.amount_refunded + payment.lost == payment.amount_received:
        return refunded(payment, refund_id)
    return PaymentPartiallyRefunded(
        order_id=payment.order_id,
        amount_refunded=payment.amount_refunded,
        amount_lost=payment.lost,
        refund_id=refund_id,
        payment_version=payment.version,
    )


def created(payment: Payment) -> PaymentIntentCreated:
    return PaymentIntentCreated(
        order_id=payment.order_id,
        payment_intent_id=payment.intent_id,
        client_secret=payment.client_secret or "",
        intent_status=payment.intent_status or "",
    )


def updated(payment: Payment, message: str | None = None) -> PaymentUpdated:
    return PaymentUpdated(
        order_id=payment.order_id,
        payment_intent_id=payment.intent_id,
        intent_status=payment.intent_status or "",
        message=message,
    )


def succeeded(payment: Payment) -> PaymentSucceeded:
    return PaymentSucceeded(
        order_id=payment.order_id,
        payment_intent_id=payment.intent_id,
        amount=payment.amount_received,
        currency=payment.currency,
    )


def failed(payment: Payment) -> PaymentFailed:
    return PaymentFailed(
        order_id=payment.order_id,
        payment_intent_id=payment.payment_intent_id,
        message=payment.failure_message or "The payment failed.",
        code=payment.failure_code,
    )


def refunded(payment: Payment, refund_id: UUID | None = None) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=payment.order_id,
        amount_refunded=payment.amount_refunded,
        amount_lost=payment.lost,
        refund_id=refund_id,
        payment_version=payment.version,
    )


def refund_failed(
    payment: Payment,
    refund_id: UUID | None,
    message: str,
    *,
    code: str | None = None,
    final: bool = False,
) -> RefundFailed:
    return RefundFailed(
        order_id=payment.order_id,
        refund_id=refund_id,
        message=message,
        code=code,
        final=final,
        amount_refunded=payment.amount_refunded,
        amount_lost=payment.lost,
        payment_version=payment.version,
    )


def refund_possible(payment: Payment, message: str) -> RefundPossible:
    return RefundPossible(
        order_id=payment.order_id, message=message, payment_version=payment.version
    )
