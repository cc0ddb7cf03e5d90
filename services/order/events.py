"""What an order can hear, besides the messages of inventory and payment.

Person's commands come over the wire in a form that suits people; here they become the events that
the saga's table knows. Whatever depends on more than the order's state is decided here, so that
the table needs no branches.
"""

from dataclasses import dataclass
from uuid import UUID

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.message import Message
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    RefundOrder,
)
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A person wants something."""

    by: str
    reason: str
    admin_notes: str | None = None


class CustomerCancels(Asked):
    pass


class StaffCancels(Asked):
    pass


class StartProcessing(Asked):
    pass


class Ship(Asked):
    pass


class Deliver(Asked):
    pass


class Archive(Asked):
    pass


class RefundAll(Asked):
    """Give back what is left, and restock what has not been shipped."""


class RefundAndRestock(Asked):
    """Give back what is left; the goods are back on the shelf, or never left it."""


class RefundKeepStock(Asked):
    """Give back what is left; the goods do not come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart(Asked):
    """Give back `amount` minor units; `refund_id` makes it happen once."""

    refund_id: UUID
    amount: int


class ClosedBySql(Asked):
    """An operator set the status to cancelled in the database: payment and stock are to follow."""


class Impossible(Asked):
    """Asked for something that no state allows, e.g. to refund what was never paid."""


@dataclass(frozen=True, slots=True)
class StepTimedOut:
    """The answer to the last command is overdue."""


@dataclass(frozen=True, slots=True)
class ReservationExpired:
    """The customer had the stock long enough without paying."""


InventoryEvent = StockReserved | StockRejected | StockRestored
PaymentEvent = (
    PaymentIntentCreated
    | PaymentUpdated
    | PaymentSucceeded
    | PaymentFailed
    | PaymentCanceled
    | PaymentRefunded
    | PaymentPartiallyRefunded
    | RefundFailed
)
Event = InventoryEvent | PaymentEvent | Asked | StepTimedOut | ReservationExpired

_STATUS_EVENTS: dict[OrderStatus, type[Asked]] = {
    OrderStatus.PROCESSING: StartProcessing,
    OrderStatus.SHIPPED: Ship,
    OrderStatus.DELIVERED: Deliver,
    OrderStatus.ARCHIVED: Archive,
    OrderStatus.CANCELLED: StaffCancels,
    OrderStatus.REFUNDED: RefundAll,
}


_EDITS: dict[OrderStatus, type[Asked]] = _STATUS_EVENTS | {OrderStatus.CANCELLED: ClosedBySql}
_AMBIGUOUS = (OrderStatus.REFUNDED,)  # the money may have gone back, or is to go back


def edited(status: OrderStatus, by: str) -> Asked | None:
    """What an edit of the status by SQL asks of the saga; None where that is not clear."""
    asked = None if status in _AMBIGUOUS else _EDITS.get(status)
    return asked(by, f"set to {status} in the database") if asked else None


def understand(message: Message, message_id: UUID, *, paid: bool, refundable: int) -> Event:
    """What a message means to an order whose payment stands so; `refundable` is in minor units."""
    match message:
        case CancelOrder():
            asked = StaffCancels if message.by_staff else CustomerCancels
            return asked(message.requested_by, message.reason, message.admin_notes)
        case ChangeOrderStatus():
            by_status = _STATUS_EVENTS.get(message.status)
            if by_status is None:
                reason = f"only the payment makes an order {message.status}"
                return Impossible(message.requested_by, reason)
            if by_status is RefundAll and not (paid and refundable):
                return Impossible(message.requested_by, "there is no payment to refund")
            return by_status(message.requested_by, message.reason, message.admin_notes)
        case RefundOrder():
            return _understand_refund(message, message_id, refundable if paid else 0)
        case _:
            return message  # type: ignore[return-value]  # the saga's table knows its messages


def _understand_refund(message: RefundOrder, message_id: UUID, refundable: int) -> Event:
    by, reason, notes = message.requested_by, message.reason, message.admin_notes
    if refundable <= 0:
        return Impossible(by, "there is no payment to refund")
    if message.amount is not None and message.amount > refundable:
        return Impossible(by, f"only {refundable} of the payment is left to refund")
    if message.amount is not None and message.amount < refundable:
        return RefundPart(by, reason, notes, refund_id=message_id, amount=message.amount)
    if message.restock is None:
        return RefundAll(by, reason, notes)
    asked = RefundAndRestock if message.restock else RefundKeepStock
    return asked(by, reason, notes)
