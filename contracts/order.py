"""Messages of the order service: commands it accepts, events it emits."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.message import Message, Value
from contracts.topics import ORDER_COMMANDS, ORDER_EVENTS


class OrderStatus(StrEnum):
    """What customers and staff see. The saga's inner state is the order service's own."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    PROCESSING = "processing"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    ARCHIVED = "archived"


class PaymentStatus(StrEnum):
    UNPAID = "unpaid"
    PAID = "paid"
    FAILED = "failed"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


STATUS_TRANSITIONS: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.PENDING: frozenset({OrderStatus.CONFIRMED, OrderStatus.CANCELLED}),
    OrderStatus.CONFIRMED: frozenset(
        {OrderStatus.PROCESSING, OrderStatus.CANCELLED, OrderStatus.REFUNDED}
    ),
    OrderStatus.PROCESSING: frozenset(
        {OrderStatus.SHIPPED, OrderStatus.CANCELLED, OrderStatus.REFUNDED}
    ),
    OrderStatus.SHIPPED: frozenset({OrderStatus.DELIVERED, OrderStatus.REFUNDED}),
    OrderStatus.DELIVERED: frozenset({OrderStatus.ARCHIVED, OrderStatus.REFUNDED}),
    OrderStatus.CANCELLED: frozenset({OrderStatus.ARCHIVED}),
    OrderStatus.REFUNDED: frozenset({OrderStatus.ARCHIVED}),
    OrderStatus.ARCHIVED: frozenset(),
}
"""The only changes of status there are; the order database holds the same list."""

MAX_LINES = 100
MAX_QUANTITY = 10_000

Quantity = Annotated[int, Field(gt=0, le=MAX_QUANTITY, strict=True)]
MinorUnits = Annotated[int, Field(ge=0, strict=True)]
"""An amount of money in the currency's smallest unit, e.g. cents."""
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
"""ISO 4217 in lower case, as Stripe writes it."""


class CartLine(Value):
    """What a customer wants. `price` is what the cart showed: checked, never charged."""

    product_id: UUID
    quantity: Quantity
    price: MinorUnits | None = None


class OrderItem(Value):
    """A line as reserved: name and price are the product's at that moment."""

    product_id: UUID
    name: str
    quantity: Quantity
    price: MinorUnits


class Problem(Value):
    """Why a line cannot be had; `message` is shown to the customer as it is."""

    code: str
    message: str
    product_id: UUID | None = None


class StatusChange(Value):
    """One row of an order's history."""

    old_status: OrderStatus | None
    new_status: OrderStatus
    changed_by: str
    reason: str | None
    created_at: datetime


class PaymentView(Value):
    """What the customer needs to pay, and Stripe's own word for where the payment is."""

    payment_intent_id: str
    client_secret: str | None = None
    status: str | None = None


# -- commands ----------------------------------------------------------------------------------


class PlaceOrder(Message, type="order.place-order.v1", topic=ORDER_COMMANDS):
    """Lines hold each product once: the gateway adds up what a cart lists twice."""

    order_id: UUID
    customer_id: str
    lines: Annotated[tuple[CartLine, ...], Field(min_length=1, max_length=MAX_LINES)]
    currency: Currency | None = None


class CancelOrder(Message, type="order.cancel-order.v1", topic=ORDER_COMMANDS):
    order_id: UUID
    requested_by: str
    by_staff: bool = False
    reason: str
    admin_notes: str | None = None


class ChangeOrderStatus(Message, type="order.change-order-status.v1", topic=ORDER_COMMANDS):
    """Staff move an order along: processing, shipped, delivered, archived."""

    order_id: UUID
    status: OrderStatus
    requested_by: str
    reason: str
    admin_notes: str | None = None


class RefundOrder(Message, type="order.refund-order.v1", topic=ORDER_COMMANDS):
    """`amount` None refunds what is left; `restock` None restocks what has not been shipped."""

    order_id: UUID
    amount: Annotated[int, Field(gt=0, strict=True)] | None = None
    restock: bool | None = None
    requested_by: str
    reason: str
    admin_notes: str | None = None


class RetryOrder(Message, type="order.retry-order.v1", topic=ORDER_COMMANDS):
    """Staff want the next try now: what the order waits for is asked for again, without waiting for
    the end of the round. Refused where no service owes an answer."""

    order_id: UUID
    requested_by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class RetryRefund(Message, type="order.retry-refund.v1", topic=ORDER_COMMANDS):
    """Staff want what Stripe refused for good to be refunded once more: a new refund, with the
    amount and the choice about the stock of the refused one. Refused where no refund waits for a
    decision."""

    order_id: UUID
    requested_by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class SettleRefund(Message, type="order.settle-refund.v1", topic=ORDER_COMMANDS):
    """Staff settled outside Stripe what Stripe refused to refund: by transfer, a voucher, or an
    agreement (`amount` 0 when nothing is owed). It ends the decision that the order needs.

    `restock` says whether the goods go back on sale when the order ends by this; None restocks what
    has not been shipped. The stock of a cancelled order is back already. Refused where no refund
    waits for a decision, or less than `amount` is left to give back.
    """

    order_id: UUID
    amount: MinorUnits
    restock: bool | None = None
    requested_by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


# -- events ------------------------------------------------------------------------------------


class OrderUpdated(Message, type="order.order-updated.v1", topic=ORDER_EVENTS):
    """The order as it is after its change number `version`; versions start at 1, without gaps.

    Carries the whole order, so that a reader needs only the newest one.
    """

    order_id: UUID
    version: int
    customer_id: str
    status: OrderStatus
    payment_status: PaymentStatus
    total: MinorUnits | None
    """None until the stock is reserved, which fixes the prices."""
    currency: Currency | None
    items: tuple[OrderItem, ...]
    payment: PaymentView | None
    problems: tuple[Problem, ...] = ()
    """Why the stock could not be reserved; empty otherwise."""
    amount_refunded: MinorUnits = 0
    history: tuple[StatusChange, ...]
    updated_by: str
    admin_notes: str | None
    created_at: datetime
    updated_at: datetime


class CommandRefused(Message, type="order.command-refused.v1", topic=ORDER_EVENTS):
    """A command came when the order's state forbids it; nothing was changed."""

    order_id: UUID
    command: str
    """The wire name of the refused command."""
    requested_by: str
    reason: str
    status: OrderStatus
