"""Audit records: who changed what, when, from, to and why. One topic per service."""

from datetime import datetime
from uuid import UUID

from contracts.message import Message, Value
from contracts.order import Currency, OrderStatus, PaymentStatus
from contracts.topics import (
    AUDIT_INVENTORY,
    AUDIT_ORDER,
    AUDIT_PAYMENT,
)


class OrderAudited(Message, type="audit.order-changed.v1", topic=AUDIT_ORDER):
    """Change number `version` of an order. Replaying 1..n gives the order's row."""

    order_id: UUID
    version: int
    action: str
    """The wire name of the message that caused the change, or the saga's own event."""
    old_status: OrderStatus | None
    new_status: OrderStatus
    payment_status: PaymentStatus
    saga_state: str
    total: int | None
    currency: Currency | None
    amount_refunded: int = 0
    amount_lost: int = 0
    """What the customer's bank took back by disputes that were lost."""
    amount_settled: int | None = None
    """What staff gave back outside Stripe; None where they settled nothing."""
    refused_refund: str | None = None
    """Why Stripe refused a refund for good, so that staff have to decide; else None."""
    refused_amount: int | None = None
    """How much of the money the decision is about, in minor units."""
    changed_by: str
    reason: str | None
    admin_notes: str | None
    at: datetime


class OrderWaits(Message, type="audit.order-waits.v1", topic=AUDIT_ORDER):
    """An order waits for another service's answer, and how: told when a round has passed without
    one, when a person wants the next try now, and when the order cannot be advanced. No change of
    the order: it has no version."""

    order_id: UUID
    saga_state: str
    rounds: int
    """How often what it waits for was asked for again."""
    next_try_at: datetime
    requested_by: str | None = None
    """Who wants the next try now; None when it was the timer's turn."""
    reason: str | None = None
    stuck_reason: str | None = None
    """Why the order cannot be advanced. A message of the timer without it, or another saga state,
    ends that."""
    at: datetime


class StockMove(Value):
    product_id: UUID
    quantity: int
    """Change of the stock level: negative when stock leaves the shelf."""


class InventoryAudited(Message, type="audit.inventory-changed.v1", topic=AUDIT_INVENTORY):
    """Stock moved, for an order or by a person, or a product was administered."""

    order_id: UUID | None = None
    product_id: UUID | None = None
    action: str
    """reserved, rejected, committed, restored, adjusted, product_put, product_removed."""
    moves: tuple[StockMove, ...] = ()
    changed_by: str
    reason: str | None
    at: datetime

    @property
    def key(self) -> str:
        return str(self.order_id or self.product_id)


class PaymentAudited(Message, type="audit.payment-changed.v1", topic=AUDIT_PAYMENT):
    """Change number `version` of a payment."""

    order_id: UUID
    version: int
    action: str
    old_status: str | None
    new_status: str
    payment_intent_id: str | None
    amount: int
    currency: Currency
    amount_received: int
    amount_refunded: int
    amount_lost: int = 0
    """What the customer's bank took back by disputes that were lost."""
    changed_by: str
    """`stripe:evt_...` for a webhook, `stripe:call` for an answer, or the asking service."""
    reason: str | None
    """Of a dispute: which one, why, and how it stands."""
    disputed: bool = False
    """A dispute is open: for people to answer, by Stripe's dashboard."""
    at: datetime
