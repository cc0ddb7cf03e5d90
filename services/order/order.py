"""One order: the states it can be in, and what is known about it.

Pure data. `recording` notes what an event says, whatever the state; the saga decides what follows
from it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from contracts.order import (
    CartLine,
    OrderItem,
    OrderStatus,
    PaymentStatus,
    Problem,
    StatusChange,
)
from services.order import refunds
from services.order.refunds import Refunds


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
    amount_lost: int = 0
    """What the customer's bank took back by disputes that were lost."""
    amount_settled: int | None = None
    """What staff gave back outside Stripe; None where they settled nothing."""
    refunds: Refunds = ()
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
    def left(self) -> int:
        """What the customer has not been given back in any way."""
        back = self.amount_refunded + self.amount_lost + (self.amount_settled or 0)
        return max(0, (self.total or 0) - back)

    @property
    def refundable(self) -> int:
        """What is left besides the refunds that are under way. Too little for a moment, while the
        money of one is counted and its answer has not come: never too much."""
        return max(0, self.left - refunds.parts_under_way(self.refunds))

    @property
    def refused_refund(self) -> str | None:
        """Why Stripe refused a refund for good: staff have to decide. None where they have not."""
        waiting = refunds.refused(self.refunds)
        return (waiting[-1].reason or "no reason given") if waiting else None

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

    @property
    def refused_amount(self) -> int | None:
        """How much of the money the decision is about."""
        waiting = refunds.refused(self.refunds)
        if not waiting:
            return None
        if any(it.rest for it in waiting):
            return self.left
        return min(self.left, sum(it.amount or 0 for it in waiting))
