"""One order: the states it can be in, and what is known about it.

Pure data and pure rules. `record` notes what an event says, whatever the state; the saga decides
what follows from it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.order import (
    CartLine,
    OrderItem,
    OrderStatus,
    PaymentStatus,
    Problem,
    StatusChange,
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
from services.order.events import Asked, Event, ReservationExpired


class State(StrEnum):
    """Where the saga is. The status that people see follows from it: see STATUS."""

    RESERVING = "reserving"
    REQUESTING_PAYMENT = "requesting_payment"
    AWAITING_PAYMENT = "awaiting_payment"
    CONFIRMED = "confirmed"
    PROCESSING = "processing"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    ARCHIVED = "archived"

    CANCELLING_PAYMENT = "cancelling_payment"  # declined or expired: a payment still wins
    WITHDRAWING = "withdrawing"  # a person cancelled: a payment goes back
    RETURNING_MONEY = "returning_money"
    RESTORING = "restoring"
    CANCELLED = "cancelled"

    REFUNDING = "refunding"  # then restock
    REFUNDING_ONLY = "refunding_only"  # the goods stay out
    RESTOCKING = "restocking"
    REFUNDED = "refunded"
    ARCHIVED_UNDONE = "archived_undone"  # archived after a cancellation or refund
    RETURNING_LATE = "returning_late"  # ... and then money came


STATUS: dict[State, OrderStatus | None] = {
    State.RESERVING: OrderStatus.PENDING,
    State.REQUESTING_PAYMENT: OrderStatus.PENDING,
    State.AWAITING_PAYMENT: OrderStatus.PENDING,
    State.CONFIRMED: OrderStatus.CONFIRMED,
    State.PROCESSING: OrderStatus.PROCESSING,
    State.SHIPPED: OrderStatus.SHIPPED,
    State.DELIVERED: OrderStatus.DELIVERED,
    State.ARCHIVED: OrderStatus.ARCHIVED,
    State.CANCELLING_PAYMENT: OrderStatus.PENDING,  # until Stripe says that nobody can pay
    State.WITHDRAWING: OrderStatus.PENDING,
    State.RETURNING_MONEY: OrderStatus.CANCELLED,
    State.RESTORING: OrderStatus.CANCELLED,
    State.CANCELLED: OrderStatus.CANCELLED,
    State.REFUNDING: None,  # as it was, until the money is back
    State.REFUNDING_ONLY: None,
    State.RESTOCKING: OrderStatus.REFUNDED,
    State.REFUNDED: OrderStatus.REFUNDED,
    State.ARCHIVED_UNDONE: OrderStatus.ARCHIVED,
    State.RETURNING_LATE: OrderStatus.ARCHIVED,
}


KNOWN_STATES: Final = frozenset(state.value for state in State)
"""A row may hold another one: of a newer release, or written by SQL."""

_BY_SQL = "database:"
"""How the trigger `log_status_change` signs a change of status that no service made."""

_NEVER_WHILE_REFUNDING = (OrderStatus.PENDING, OrderStatus.CANCELLED, OrderStatus.ARCHIVED)


class Order(NamedTuple):
    """A row of `orders` with its lines and history. Amounts are minor units.

    A tuple, since each event of each order makes a new one: a fifth of what a frozen dataclass
    costs to make and to replace.
    """

    id: UUID
    customer_id: str
    state: State
    status: OrderStatus
    lines: tuple[CartLine, ...]
    updated_by: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    payment_status: PaymentStatus = PaymentStatus.UNPAID
    items: tuple[OrderItem, ...] = ()
    wanted_currency: str | None = None
    total: int | None = None
    currency: str | None = None
    payment_intent_id: str | None = None
    client_secret: str | None = None
    intent_status: str | None = None
    amount_refunded: int = 0
    payment_version: int = 0
    """Of the payment, as the last refund told it: an older one has nothing to say."""
    problems: tuple[Problem, ...] = ()
    admin_notes: str | None = None
    reason: str | None = None
    version: int = 1
    history: tuple[StatusChange, ...] = ()

    @property
    def paid(self) -> bool:
        """Whether money came in, whatever became of it since."""
        return self.payment_status not in (PaymentStatus.UNPAID, PaymentStatus.FAILED)

    @property
    def refundable(self) -> int:
        return (self.total or 0) - self.amount_refunded

    @property
    def edits(self) -> tuple[StatusChange, ...]:
        """Changes of the status by SQL since the last change by this service."""
        if not self.history or not self.history[-1].changed_by.startswith(_BY_SQL):
            return ()
        return tuple(
            change
            for change in self.history
            if change.changed_by.startswith(_BY_SQL) and change.created_at > self.updated_at
        )

    @property
    def announced_status(self) -> OrderStatus:
        """The status that the last audit record of this order ends with."""
        return (self.edits[0].old_status if self.edits else None) or self.status

    @property
    def contradicts(self) -> bool:
        """Whether the saga can never have brought the order in this state to this status."""
        if self.state is State.WITHDRAWING:  # an order that was closed by SQL keeps its status
            return False
        if STATUS[self.state] is None:
            return self.status in _NEVER_WHILE_REFUNDING
        return self.status is not STATUS[self.state]


Changes = dict[str, Any]
"""Fields of an order and their new values."""


def record(order: Order, event: Event) -> Changes:
    """What the event says. A late or repeated event never takes back what is known."""
    match event:
        case StockReserved() if order.state is State.RESERVING:
            return {"items": event.items, "total": event.total, "currency": event.currency}
        case StockRejected() if order.state is State.RESERVING:
            return {"problems": event.problems}
        case PaymentIntentCreated():
            return {
                "payment_intent_id": event.payment_intent_id,
                "client_secret": event.client_secret,
                "intent_status": order.intent_status or event.intent_status,
            }
        case PaymentUpdated() if order.payment_status is PaymentStatus.UNPAID:
            return {"intent_status": event.intent_status}
        case PaymentSucceeded():
            return {
                "payment_intent_id": event.payment_intent_id,
                "intent_status": "succeeded",
                "payment_status": order.payment_status if order.paid else PaymentStatus.PAID,
            }
        case PaymentFailed() if order.payment_status is PaymentStatus.UNPAID:
            return {
                "payment_status": PaymentStatus.FAILED,
                "admin_notes": f"Payment failed: {event.message}",
            }
        case PaymentCanceled() if order.payment_intent_id is not None:
            return {"intent_status": "canceled"}
        case PaymentRefunded() | PaymentPartiallyRefunded() | RefundFailed():
            return _record_refund(order, event)
        case Asked() if event.admin_notes is not None:
            return {"admin_notes": event.admin_notes}
        case _:
            return {}


def _record_refund(
    order: Order, event: PaymentRefunded | PaymentPartiallyRefunded | RefundFailed
) -> Changes:
    if event.payment_version < order.payment_version:
        return {}
    changes: Changes = {"payment_version": event.payment_version}
    if isinstance(event, RefundFailed):
        changes["admin_notes"] = f"Refund failed: {event.message}"
    if event.amount_refunded == 0 and not order.paid:
        return changes
    if event.amount_refunded == 0:
        payment_status = PaymentStatus.PAID
    elif order.total is not None and event.amount_refunded >= order.total:
        payment_status = PaymentStatus.REFUNDED
    else:
        payment_status = PaymentStatus.PARTIALLY_REFUNDED
    return changes | {
        "amount_refunded": event.amount_refunded,
        "payment_status": payment_status,
    }


def describe(event: Event) -> tuple[str, str]:
    """Who is behind an event, and why it changes the order."""
    match event:
        case Asked():
            return event.by, event.reason
        case StockReserved():
            return "inventory-service", "stock reserved"
        case StockRejected():
            return "inventory-service", " ".join(problem.message for problem in event.problems)
        case StockRestored():
            return "inventory-service", "stock restored"
        case PaymentFailed():
            return "payment-service", f"Payment failed: {event.message}"
        case PaymentSucceeded():
            return "payment-service", "payment succeeded"
        case PaymentCanceled():
            return "payment-service", "payment cancelled at Stripe"
        case PaymentRefunded() | PaymentPartiallyRefunded():
            return "payment-service", "refunded at Stripe"
        case RefundFailed():
            return "payment-service", f"Refund failed: {event.message}"
        case PaymentIntentCreated():
            return "payment-service", "payment requested"
        case PaymentUpdated():
            return "payment-service", f"payment is {event.intent_status}"
        case ReservationExpired():
            return "order-service", "not paid within the reservation time"
        case _:
            return "order-service", "no answer in time"
