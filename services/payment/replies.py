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
    """What has been given back, if anything."""
    total = payment.amount_refunded
    if not total:
        return []
    if total == payment.amount_received:
        return [refunded(payment)]
    return [
        PaymentPartiallyRefunded(
            order_id=payment.order_id, amount_refunded=total, payment_version=payment.version
        )
    ]


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


def refunded(payment: Payment) -> PaymentRefunded:
    return PaymentRefunded(
        order_id=payment.order_id,
        amount_refunded=payment.amount_refunded,
        payment_version=payment.version,
    )


def refund_failed(payment: Payment, refund_id: UUID | None, message: str) -> RefundFailed:
    return RefundFailed(
        order_id=payment.order_id,
        refund_id=refund_id,
        message=message,
        amount_refunded=payment.amount_refunded,
        payment_version=payment.version,
    )
