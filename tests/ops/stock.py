"""What topics tell of stock, as inventory sends it; and the report of it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from contracts.audit import InventoryAudited, StockMove
from contracts.inventory import ProductUpdated
from services.ops.store.stock import report
from tests.ops.conftest import Watch

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def told(product_id: UUID, version: int, level: int, **more: Any) -> ProductUpdated:
    """A product on the catalogue."""
    plain = {"name": "Print", "price": 12000, "currency": "zar", "available": True}
    fields = plain | {"product_id": product_id, "version": version, "stock_quantity": level}
    return ProductUpdated.model_validate(fields | more)


def audited(
    action: str, order_id: UUID, pieces: Mapping[UUID, int], at: datetime = NOON
) -> InventoryAudited:
    """What inventory records of an order: the change of levels, which a commit is not."""
    sign = {"reserved": -1, "committed": 0, "restored": 1}[action]
    return InventoryAudited(
        order_id=order_id,
        action=action,
        moves=tuple(StockMove(product_id=p, quantity=sign * n) for p, n in pieces.items() if sign),
        changed_by="order-service",
        reason=None,
        at=at,
    )


def adjusted(product_id: UUID, delta: int, at: datetime = NOON) -> InventoryAudited:
    return InventoryAudited(
        product_id=product_id,
        action="adjusted",
        moves=(StockMove(product_id=product_id, quantity=delta),),
        changed_by="naledi",
        reason="counted",
        at=at,
    )


async def row(watch: Watch, product_id: UUID, *, low_at: int = 0) -> dict[str, Any]:
    """A product in the report."""
    (found,) = await report(
        watch.pool,
        low_at=low_at,
        low_only=False,
        search=None,
        product_id=product_id,
        after=None,
        since=date(2026, 11, 1),
        limit=1,
    )
    return dict(found)


async def numbers(watch: Watch, product_id: UUID) -> tuple[int, int, int]:
    """Held, sold, moved."""
    found = await row(watch, product_id)
    return found["held"], found["sold"], found["moved"]


async def days(watch: Watch, product_id: UUID) -> dict[tuple[date, str], int]:
    """What moved, by day and kind."""
    found = await watch.owner.fetch(
        "SELECT day, kind, quantity FROM stock_days WHERE product_id = $1 AND quantity <> 0",
        product_id,
    )
    return {(each["day"], each["kind"]): each["quantity"] for each in found}
