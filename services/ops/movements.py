"""What the audit of inventory says of stock: movements by product, day and kind. Pure.

An order's movements follow from all of its records together, in whatever order they came: stock
that comes back was sold or held, and only the record of the commit says which.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Literal, NamedTuple
from uuid import UUID

from contracts.inventory import MAX_STOCK

Kind = Literal["received", "written_off", "reserved", "committed", "restored", "returned"]

ON_LEVEL: Final[dict[Kind, int]] = {
    "received": 1,
    "written_off": -1,
    "reserved": -1,
    "committed": 0,
    "restored": 1,
    "returned": 1,
}
"""How a movement of one piece changes what can be ordered."""
_ON_HELD: Final[dict[Kind, int]] = {"reserved": 1, "committed": -1, "restored": -1}
_ON_SOLD: Final[dict[Kind, int]] = {"committed": 1, "returned": -1}


class StockRecord(NamedTuple):
    """An audit record of inventory, as far as it is about stock."""

    order_id: UUID | None
    action: str
    at: datetime
    moves: Sequence[tuple[UUID, int]]
    """Product, and change of its level."""


class Movement(NamedTuple):
    """Pieces of a product that moved; `quantity` is positive, the kind says the way."""

    product_id: UUID
    kind: Kind
    quantity: int
    at: datetime


class Cell(NamedTuple):
    """What is added up."""

    product_id: UUID
    day: date
    kind: Kind


class Change(NamedTuple):
    """What is to be added to a product's totals."""

    product_id: UUID
    held: int
    sold: int
    moved: int
    last_moved_at: datetime


def movements(records: Iterable[StockRecord]) -> Iterator[Movement]:
    """The movements in records, which hold all that is known of each order among them."""
    orders: dict[UUID, dict[str, StockRecord]] = defaultdict(dict)
    for record in records:
        if record.order_id is not None:
            orders[record.order_id].setdefault(record.action, record)
        elif record.action == "adjusted":
            for product_id, quantity in _possible(record.moves):
                kind: Kind = "received" if quantity > 0 else "written_off"
                yield Movement(product_id, kind, abs(quantity), record.at)
    for told in orders.values():
        yield from _of_order(told)


def _of_order(told: Mapping[str, StockRecord]) -> Iterator[Movement]:
    """Nothing until the reservation is known: only it says what the order is about."""
    reserved, committed = told.get("reserved"), told.get("committed")
    if reserved is None:
        return
    for product_id, quantity in _possible(reserved.moves):
        yield Movement(product_id, "reserved", -quantity, reserved.at)
        if committed:
            yield Movement(product_id, "committed", -quantity, committed.at)
        if restored := told.get("restored"):
            kind: Kind = "returned" if committed else "restored"
            yield Movement(product_id, kind, -quantity, restored.at)


def _possible(moves: Iterable[tuple[UUID, int]]) -> Iterator[tuple[UUID, int]]:
    """Numbers that stock can have: no others may stop the counting."""
    return ((product_id, number) for product_id, number in moves if abs(number) <= MAX_STOCK)


def add_up(found: Iterable[Movement]) -> Counter[Cell]:
    """Pieces by product, day and kind."""
    cells: Counter[Cell] = Counter()
    for movement in found:
        cell = Cell(movement.product_id, movement.at.date(), movement.kind)
        cells[cell] += movement.quantity
    return cells


def totals(change: Mapping[Cell, int], found: Iterable[Movement]) -> list[Change]:
    """What a change of cells means for the totals of its products, in the order of their ids;
    `found` has the times."""
    last: dict[UUID, datetime] = {}
    for movement in found:
        last[movement.product_id] = max(movement.at, last.get(movement.product_id, movement.at))
    held, sold, moved = Counter[UUID](), Counter[UUID](), Counter[UUID]()
    for cell, quantity in change.items():
        held[cell.product_id] += _ON_HELD.get(cell.kind, 0) * quantity
        sold[cell.product_id] += _ON_SOLD.get(cell.kind, 0) * quantity
        moved[cell.product_id] += ON_LEVEL[cell.kind] * quantity
    return [Change(each, held[each], sold[each], moved[each], last[each]) for each in sorted(held)]


# -- over time ---------------------------------------------------------------------------------


class Day(NamedTuple):
    """A product's day: its level at the end, and what moved."""

    day: date
    level: int | None
    received: int
    written_off: int
    reserved: int
    committed: int
    restored: int
    returned: int


def history(
    level: int | None, cells: Mapping[tuple[date, Kind], int], first: date, last: date
) -> list[Day]:
    """Each day from first to last. Levels are counted back from the one of now by the movements."""
    later = sum(ON_LEVEL[kind] * number for (day, kind), number in cells.items() if day > last)
    level = None if level is None else level - later
    days = []
    for back in range((last - first).days + 1):
        day = last - timedelta(days=back)
        moved: dict[Kind, int] = {kind: cells.get((day, kind), 0) for kind in ON_LEVEL}
        days.append(Day(day, level, **moved))
        if level is not None:
            level -= sum(ON_LEVEL[kind] * number for kind, number in moved.items())
    return days[::-1]


def cover(level: int | None, per_day: float) -> float | None:
    """For how many days a level will do; None when nothing is sold."""
    return None if level is None or per_day <= 0 else round(level / per_day, 1)
