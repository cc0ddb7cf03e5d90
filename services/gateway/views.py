"""What callers are shown of an order or a product, depending on who they are."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from contracts.order import (
    OrderItem,
    OrderStatus,
    OrderUpdated,
    PaymentStatus,
    PaymentView,
    Problem,
    StatusChange,
)
from services.kit.auth import Caller


class OrderView(BaseModel):
    """An order. Prices and totals are minor units; they are fixed once stock is reserved."""

    model_config = ConfigDict(from_attributes=True)

    order_id: UUID
    customer_id: str
    status: OrderStatus
    payment_status: PaymentStatus
    total: int | None = Field(description="None until the stock is reserved")
    currency: str | None
    items: list[OrderItem]
    payment: PaymentView | None = Field(
        description="`client_secret`, with which one pays, is shown to the order's customer only"
    )
    problems: list[Problem] = Field(description="why the stock could not be reserved")
    amount_refunded: int
    history: list[StatusChange]
    admin_notes: str | None = Field(default=None, description="administrators only")
    created_at: datetime
    updated_at: datetime
    version: int


class OrderPage(BaseModel):
    data: list[OrderView]
    next_cursor: UUID | None = Field(description="send it as `cursor` for the next page")


class PlacedOrder(BaseModel):
    order_id: UUID
    status: OrderStatus


class ProductView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    product_id: UUID
    name: str
    price: int = Field(description="minor units")
    currency: str
    available: bool
    stock_quantity: int
    version: int


class ProductPage(BaseModel):
    data: list[ProductView]
    next_cursor: UUID | None


class CartAnswer(BaseModel):
    valid: bool
    errors: list[Problem]


def order_body(order: OrderUpdated, caller: Caller) -> dict[str, Any]:
    """The order as JSON values, without what is not this caller's to see."""
    hidden: dict[str, Any] = {}
    if not caller.is_admin:
        hidden["admin_notes"] = True
    if caller.customer_id != order.customer_id:
        hidden["payment"] = {"client_secret"}
    return OrderView.model_validate(order).model_dump(mode="json", exclude=hidden)


def first_view(order_id: UUID, customer_id: str, now: datetime) -> OrderUpdated:
    """The order as it stands until the order service has spoken: version 0, nothing decided."""
    return OrderUpdated(
        order_id=order_id,
        version=0,
        customer_id=customer_id,
        status=OrderStatus.PENDING,
        payment_status=PaymentStatus.UNPAID,
        total=None,
        currency=None,
        items=(),
        payment=None,
        history=(),
        updated_by=customer_id,
        admin_notes=None,
        created_at=now,
        updated_at=now,
    )
