"""Messages of the payment service: commands it accepts, events it emits.

Amounts are minor units. Every command is answered every time it is asked, also with the answer
that it got before.
"""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.message import Message
from contracts.order import Currency, MinorUnits
from contracts.topics import PAYMENT_COMMANDS, PAYMENT_EVENTS

# -- commands ----------------------------------------------------------------------------------


class RequestPayment(Message, type="payment.request-payment.v1", topic=PAYMENT_COMMANDS):
    """Make the PaymentIntent. Answered by PaymentIntentCreated, or PaymentFailed when Stripe
    refuses, or by where the payment is when it is further already."""

    order_id: UUID
    customer_id: str
    amount: Annotated[int, Field(gt=0, strict=True)]
    currency: Currency


class CancelPayment(Message, type="payment.cancel-payment.v1", topic=PAYMENT_COMMANDS):
    """Make sure that nobody can pay any more. Answered by PaymentCanceled, or PaymentSucceeded
    when the customer was faster, or PaymentUpdated while Stripe is still processing.

    Without a payment a tombstone is left, so that a RequestPayment that arrives later is refused.
    """

    order_id: UUID
    reason: str


class RefundPayment(Message, type="payment.refund-payment.v1", topic=PAYMENT_COMMANDS):
    """Give money back. Answered by PaymentRefunded, PaymentPartiallyRefunded or RefundFailed.

    `refund_id` is the business key: one decision to refund. The same id is never refunded twice,
    and one that was refused for good stays so: it is answered again, not tried again. `amount`
    None refunds whatever is left; when nothing is left, that is answered as done.
    """

    order_id: UUID
    refund_id: UUID
    amount: Annotated[int, Field(gt=0, strict=True)] | None = None
    settled_outside: MinorUnits = 0
    """What staff gave back outside Stripe: it is not left to refund."""
    reason: str


class CheckPayment(Message, type="payment.check-payment.v1", topic=PAYMENT_COMMANDS):
    """Staff want to know: Stripe is asked how the payment is, also when it has ended here, and the
    answer settles it. Answered at once by where the payment stands, like a repeated command.

    Without a PaymentIntent there is nothing to ask for, and no answer.
    """

    order_id: UUID
    requested_by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


# -- events ------------------------------------------------------------------------------------


class PaymentIntentCreated(Message, type="payment.payment-intent-created.v1", topic=PAYMENT_EVENTS):
    order_id: UUID
    payment_intent_id: str
    client_secret: str
    intent_status: str


class PaymentUpdated(Message, type="payment.payment-updated.v1", topic=PAYMENT_EVENTS):
    """The intent moved but nothing is decided: `processing`, `requires_action`, or a failed
    attempt that the customer may repeat (PAYMENT_FAILURE_POLICY=retry)."""

    order_id: UUID
    payment_intent_id: str
    intent_status: str
    message: str | None = None


class PaymentSucceeded(Message, type="payment.payment-succeeded.v1", topic=PAYMENT_EVENTS):
    order_id: UUID
    payment_intent_id: str
    amount: MinorUnits
    currency: Currency


class PaymentFailed(Message, type="payment.payment-failed.v1", topic=PAYMENT_EVENTS):
    """`message` is Stripe's `last_payment_error.message`."""

    order_id: UUID
    payment_intent_id: str | None
    message: str
    code: str | None = None


class PaymentCanceled(Message, type="payment.payment-canceled.v1", topic=PAYMENT_EVENTS):
    """Nobody can pay for this order any more."""

    order_id: UUID
    payment_intent_id: str | None


class PaymentRefunded(Message, type="payment.payment-refunded.v1", topic=PAYMENT_EVENTS):
    """All the money is back; `amount_refunded` is cumulative.

    `payment_version` grows with every change of the payment: the newest one is right.
    """

    order_id: UUID
    amount_refunded: MinorUnits
    amount_lost: MinorUnits = 0
    """What the customer's bank took back by disputes that were lost, cumulative."""
    refund_id: UUID | None = None
    """The refund that is made; None where the news is not the answer to one."""
    payment_version: int


class PaymentPartiallyRefunded(
    Message, type="payment.payment-partially-refunded.v1", topic=PAYMENT_EVENTS
):
    """Some of the money is back, or the refund of some; `amount_refunded` is cumulative."""

    order_id: UUID
    amount_refunded: MinorUnits
    amount_lost: MinorUnits = 0
    """What the customer's bank took back by disputes that were lost, cumulative."""
    refund_id: UUID | None = None
    """The refund that is made; None where the news is not the answer to one."""
    payment_version: int


class RefundFailed(Message, type="payment.refund-failed.v1", topic=PAYMENT_EVENTS):
    """Stripe refused or could not deliver a refund; `amount_refunded` is what stands."""

    order_id: UUID
    refund_id: UUID | None
    message: str
    code: str | None = None
    """Stripe's error code or failure reason, e.g. `charge_disputed`."""
    final: bool = False
    """Asked again, Stripe would say the same: staff have to decide. Otherwise the refund can be
    asked for again under the same id."""
    amount_refunded: MinorUnits
    amount_lost: MinorUnits = 0
    """What the customer's bank took back by disputes that were lost, cumulative."""
    payment_version: int


class RefundPossible(Message, type="payment.refund-possible.v1", topic=PAYMENT_EVENTS):
    """A dispute ended in the shop's favour: a refund that was refused because of it can be asked
    for again, under another `refund_id`."""

    order_id: UUID
    message: str
    payment_version: int
