"""Orders as the order service announces them, version by version."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from contracts.order import (
    OrderItem,
    OrderStatus,
    OrderUpdated,
    PaymentStatus,
    StatusChange,
)

PRICE = 12_000
TOTAL = 2 * PRICE
ITEM = OrderItem(product_id=uuid4(), name="Karoo <at> dawn", quantity=2, price=PRICE)


def now() -> datetime:
    return datetime.now(UTC)


def order(
    order_id: UUID,
    version: int,
    statuses: Sequence[str],
    payment: str = "unpaid",
    refunded: int = 0,
    *,
    at: datetime | None = None,
    **more: Any,
) -> OrderUpdated:
    """An order whose history went through these statuses, the last of which it has now."""
    at = at or now()
    history = [
        StatusChange(
            old_status=None if index == 0 else OrderStatus(statuses[index - 1]),
            new_status=OrderStatus(status),
            changed_by="somebody",
            reason=f"because {status}",
            created_at=at,
        )
        for index, status in enumerate(statuses)
    ]
    facts: dict[str, Any] = {
        "total": TOTAL,
        "currency": "zar",
        "items": (ITEM,),
        "payment": None,
        "customer_id": "anna",
        "updated_by": "somebody",
        "admin_notes": None,
        "created_at": at - timedelta(minutes=1),
        "updated_at": at,
    }
    return OrderUpdated(
        order_id=order_id,
        version=version,
        status=OrderStatus(statuses[-1]),
        payment_status=PaymentStatus(payment),
        amount_refunded=refunded,
        history=tuple(history),
        **facts | more,
    )


def bought(order_id: UUID) -> list[OrderUpdated]:
    """Placed, paid, shipped, refunded in part and then in full, archived."""
    way = ["pending", "confirmed", "processing", "shipped"]
    return [
        order(order_id, 1, way[:1]),
        order(order_id, 2, way[:2], "paid"),
        order(order_id, 3, way[:3], "paid"),
        order(order_id, 4, way[:4], "paid"),
        order(order_id, 5, way[:4], "partially_refunded", 5_000),
        order(order_id, 6, [*way, "refunded"], "refunded", TOTAL),
        order(order_id, 7, [*way, "refunded", "archived"], "refunded", TOTAL),
    ]


def paid_too_late(order_id: UUID) -> list[OrderUpdated]:
    """Declined, cancelled, and paid after that."""
    gone = ["pending", "cancelled"]
    return [
        order(order_id, 1, gone[:1]),
        order(order_id, 2, gone[:1], "failed"),
        order(order_id, 3, gone, "failed"),
        order(order_id, 4, gone, "paid"),
        order(order_id, 5, gone, "refunded", TOTAL),
    ]


MAILS_OF_BOUGHT = [
    "order_confirmed.2",
    "status_changed.3",
    "status_changed.4",
    "refund_made.5",
    "refund_made.6",
]
MAILS_OF_PAID_TOO_LATE = ["payment_failed.2", "status_changed.2", "late_payment_returned.5"]
