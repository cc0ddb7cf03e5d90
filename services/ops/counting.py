"""Counts stock movements from the audit: chain by chain, each record once (decision 0022).

The audit holds each record once, in an order that does not change. So a position per chain says
what was counted, however often a record came from Kafka, and whoever was deployed when it came.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import ValidationError

from contracts.audit import InventoryAudited
from services.kit.work import Work
from services.ops.movements import StockRecord, add_up, movements, totals
from services.ops.store import stock

AT_ONCE: Final = 500
"""Records of one chain in one transaction."""


async def count_stock(work: Work) -> None:
    """Count what was recorded since. A constant number of statements; rows are locked in the order
    of chains, then products, so that replicas wait for each other instead of deadlocking."""
    counted = await stock.lock_uncounted(work.db)
    if not counted:
        return
    rows = await stock.read_uncounted(work.db, counted, AT_ONCE)
    fresh = list(_records(rows))
    before = list(
        _records(
            await stock.read_counted(
                work.db, counted, [str(order) for each in fresh if (order := each.order_id)]
            )
        )
    )
    found = list(movements([*before, *fresh]))
    change = add_up(found)
    change.subtract(add_up(movements(before)))
    cells = sorted((cell, quantity) for cell, quantity in change.items() if quantity)
    if cells:
        await stock.add_to_totals(work.db, totals(dict(cells), found))
        await stock.add_to_days(work.db, cells)
    counted |= {row["partition"]: row["position"] for row in rows}
    await stock.save_counted(work.db, counted)


def _records(rows: Iterable[Any]) -> Iterator[StockRecord]:
    for row in rows:
        try:
            told = InventoryAudited.model_validate_json(row["payload"])
        except ValidationError:
            continue  # it was read when it came, so somebody has altered it: `audit verify` says so
        moves = [(move.product_id, move.quantity) for move in told.moves]
        yield StockRecord(told.order_id, told.action, row["happened_at"], moves)
