"""Who gets the stock: pure decisions on locked products. Read `allocate` first.

Orders are served in the order in which they come, each gets all of its lines or none. Texts and
the order of the checks are the cart check's (`contracts.cart`); what only the reservation can know
is whether a shortage is a lost race: the product is `sold_out` when a customer took the last one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal
from uuid import UUID

from contracts.cart import add_up, check_cart, short_at_reservation, sold_to_another
from contracts.inventory import (
    MAX_STOCK,
    AdjustStock,
    PutProduct,
    RemoveProduct,
    ReserveStock,
    RestoreStock,
)
from contracts.order import CartLine, OrderItem, Problem

CANCELLED: Final = Problem(code="cancelled", message="The order was cancelled before")
EMPTY: Final = Problem(code="empty_order", message="The order has no lines")


@dataclass(slots=True)
class LockedProduct:
    """A product whose row this transaction has locked."""

    product_id: UUID
    name: str
    price: int
    currency: str
    available: bool
    removed: bool
    stock_quantity: int
    sold_out: bool
    """The last one went to a customer; false where there never was any, or staff took it out."""


# -- what is asked, and what becomes of it -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Take:
    """An order that is asked about for the first time."""

    order_id: UUID
    lines: Sequence[CartLine]
    currency: str | None


@dataclass(frozen=True, slots=True)
class PutBack:
    """A reservation to undo; without items, an undo that came before its do."""

    order_id: UUID
    items: Sequence[OrderItem]
    reason: str


@dataclass(frozen=True, slots=True)
class Reserved:
    order_id: UUID
    items: tuple[OrderItem, ...]
    currency: str

    @property
    def total(self) -> int:
        return sum(item.price * item.quantity for item in self.items)


@dataclass(frozen=True, slots=True)
class Rejected:
    order_id: UUID
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Restored:
    order_id: UUID
    items: Sequence[OrderItem] = ()
    """What went back to the shelf just now."""


Request = Take | PutBack
Outcome = Reserved | Rejected | Restored


@dataclass(frozen=True, slots=True)
class Movement:
    """A row of the ledger; `quantity` is negative when stock leaves the shelf."""

    product_id: UUID
    quantity: int
    action: Literal["reserved", "restored", "adjusted"]
    reason: str
    changed_by: str
    order_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class StockChange:
    """How the stock level of one product moves, all movements together."""

    product_id: UUID
    delta: int
    sold_out: bool


@dataclass(slots=True)
class Allocation:
    outcomes: dict[UUID, Outcome] = field(default_factory=dict)
    """By order."""
    movements: list[Movement] = field(default_factory=list)
    changes: list[StockChange] = field(default_factory=list)
    """One per product whose level is another one now, whatever the number of orders."""


# -- orders ------------------------------------------------------------------------------------


def request_of(command: ReserveStock | RestoreStock, known: Outcome | None) -> Request | Outcome:
    """What a command asks for, given what became of its order before; an Outcome is the answer.

    Raises:
        pydantic.ValidationError: lines of one product add up to more than an order may have.
    """
    order_id = command.order_id
    if isinstance(command, ReserveStock):
        if known is None:
            return Take(order_id, add_up(command.lines), command.currency)
        if isinstance(known, Restored):
            return Rejected(order_id, (CANCELLED,))
        return known
    if known is None or isinstance(known, Reserved):
        return PutBack(order_id, known.items if known else (), command.reason)
    return Restored(order_id)


def allocate(
    products: Iterable[LockedProduct], requests: Sequence[Request], changed_by: str
) -> Allocation:
    """Decide all requests of a batch, one after the other. Changes none of its arguments."""
    before = {product.product_id: product for product in products}
    shelves = {product_id: replace(product) for product_id, product in before.items()}
    allocation = Allocation()
    for request in requests:
        if isinstance(request, Take):
            outcome: Outcome = _take(request, shelves)
            sign, reason = -1, "order placed"
        else:
            outcome = _put_back(request, shelves)
            sign, reason = 1, request.reason
        allocation.outcomes[request.order_id] = outcome
        if not isinstance(outcome, Rejected):
            allocation.movements.extend(
                Movement(
                    product_id=item.product_id,
                    quantity=sign * item.quantity,
                    action="reserved" if sign < 0 else "restored",
                    reason=reason,
                    changed_by=changed_by,
                    order_id=request.order_id,
                )
                for item in outcome.items
            )
    allocation.changes = [
        StockChange(product_id, delta, shelf.sold_out)
        for product_id, shelf in shelves.items()
        if (delta := shelf.stock_quantity - before[product_id].stock_quantity)
    ]
    return allocation


def _take(request: Take, shelves: dict[UUID, LockedProduct]) -> Reserved | Rejected:
    problems = check_cart(request.lines, shelves, shortage=_shortage, currency=request.currency)
    if problems or not request.lines:
        return Rejected(request.order_id, tuple(problems) or (EMPTY,))
    items = []
    for line in request.lines:
        shelf = shelves[line.product_id]
        shelf.stock_quantity -= line.quantity
        shelf.sold_out = shelf.stock_quantity == 0
        items.append(
            OrderItem(
                product_id=line.product_id,
                name=shelf.name,
                quantity=line.quantity,
                price=shelf.price,  # never the client's
            )
        )
    return Reserved(request.order_id, tuple(items), shelf.currency)


def _put_back(request: PutBack, shelves: dict[UUID, LockedProduct]) -> Restored:
    for item in request.items:
        shelf = shelves[item.product_id]
        shelf.stock_quantity += item.quantity
        shelf.sold_out = False
    return Restored(request.order_id, request.items)


def _shortage(line: CartLine, product: LockedProduct) -> Problem:
    if product.sold_out:
        return sold_to_another(line, product)
    return short_at_reservation(line, product)


# -- administration ----------------------------------------------------------------------------


def refusal(
    command: PutProduct | RemoveProduct | AdjustStock, product: LockedProduct | None
) -> Problem | None:
    """Why a command of product administration cannot be done, or None.

    A product that is off the catalogue is not there for staff either; putting it brings it back.
    """
    if isinstance(command, PutProduct):
        return None
    if product is None or product.removed:
        return _problem(
            command.product_id, "not_found", f"There is no product {command.product_id}"
        )
    if not isinstance(command, AdjustStock):
        return None
    stock = f"Stock of {product.name} is {product.stock_quantity}"
    if product.stock_quantity + command.delta < 0:
        text = f"{stock}; it cannot be reduced by {-command.delta}"
    elif command.delta > 0 and product.stock_quantity + command.delta > MAX_STOCK:
        text = f"{stock}; it cannot be raised by {command.delta}, the most is {MAX_STOCK}"
    else:
        return None
    return _problem(command.product_id, "conflict", text)


def _problem(product_id: UUID, code: str, message: str) -> Problem:
    return Problem(code=code, message=message, product_id=product_id)
