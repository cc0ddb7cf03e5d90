"""Messages of the inventory service: commands it accepts, events it emits."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from contracts.message import Message, Value
from contracts.order import CartLine, Currency, MinorUnits, OrderItem, Problem
from contracts.topics import (
    INVENTORY_CATALOG,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    INVENTORY_REPLIES,
)

MAX_STOCK = 1_000_000_000

# -- commands of the saga ----------------------------------------------------------------------


class ReserveStock(Message, type="inventory.reserve-stock.v1", topic=INVENTORY_COMMANDS):
    """All lines or none. Answered by StockReserved or StockRejected, the same answer each time."""

    order_id: UUID
    lines: tuple[CartLine, ...]
    currency: Currency | None = None
    """The currency that the customer expects; None takes the products' own."""


class CommitStock(Message, type="inventory.commit-stock.v1", topic=INVENTORY_COMMANDS):
    """The order is paid: what was held is sold. Needs no answer, the outbox delivers it."""

    order_id: UUID


class RestoreStock(Message, type="inventory.restore-stock.v1", topic=INVENTORY_COMMANDS):
    """Undo the reservation, held or sold, once. Always answered by StockRestored.

    For an order that has no reservation a tombstone is left, so that a ReserveStock that
    arrives later is refused.
    """

    order_id: UUID
    reason: str


# -- commands of product administration --------------------------------------------------------


class ProductCommand(Value):
    """Who asked: every change of a product has a name on it."""

    product_id: UUID
    requested_by: str

    @property
    def key(self) -> str:
        return str(self.product_id)


class PutProduct(
    ProductCommand, Message, type="inventory.put-product.v1", topic=INVENTORY_COMMANDS
):
    """Create the product (with stock 0) or replace what is said of it; stock is not touched."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    price: Annotated[int, Field(gt=0, le=99_999_999, strict=True)]
    currency: Currency
    available: bool = True
    low_stock_threshold: Annotated[int, Field(ge=0, strict=True)] = 0


class RemoveProduct(
    ProductCommand, Message, type="inventory.remove-product.v1", topic=INVENTORY_COMMANDS
):
    """Take the product off the catalogue. Orders that hold it go on."""


class AdjustStock(
    ProductCommand, Message, type="inventory.adjust-stock.v1", topic=INVENTORY_COMMANDS
):
    delta: Annotated[int, Field(ge=-MAX_STOCK, le=MAX_STOCK, strict=True)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


# -- events ------------------------------------------------------------------------------------


class StockReserved(Message, type="inventory.stock-reserved.v1", topic=INVENTORY_EVENTS):
    order_id: UUID
    items: tuple[OrderItem, ...]
    total: MinorUnits
    currency: Currency


class StockRejected(Message, type="inventory.stock-rejected.v1", topic=INVENTORY_EVENTS):
    order_id: UUID
    problems: tuple[Problem, ...]


class StockRestored(Message, type="inventory.stock-restored.v1", topic=INVENTORY_EVENTS):
    order_id: UUID


class Product(Value):
    """A product as the catalogue shows it. `version` grows with every change."""

    product_id: UUID
    version: int
    name: str
    price: MinorUnits
    currency: Currency
    available: bool
    stock_quantity: int
    low_stock_threshold: int = 0
    removed: bool = False


class ProductUpdated(
    Product, Message, type="inventory.product-updated.v1", topic=INVENTORY_CATALOG
):
    """The newest state of a product; the topic is compacted, so it holds the whole catalogue."""

    @property
    def key(self) -> str:
        return str(self.product_id)


class ProductCommandDone(
    Message, type="inventory.product-command-done.v1", topic=INVENTORY_REPLIES
):
    """The answer to one command of product administration.

    `product` as it is now, or None with `problem` (code `not_found` or `conflict`) when refused.
    """

    product_id: UUID
    command_id: UUID
    product: Product | None = None
    problem: Problem | None = None

    @property
    def key(self) -> str:
        return str(self.product_id)
