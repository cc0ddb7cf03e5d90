"""Which mails an order's new version gives rise to. No I/O, no clock.

OrderUpdated carries the whole order, so a version that was skipped or came late loses no news: the
history tells every change of status, and `Told` remembers per order what has been told before.
Not mailed: `pending` (the shop has just answered), `refunded` (the refund's own mail says it) and
`archived` (the shop's own business).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from contracts.cart import format_money
from contracts.order import OrderStatus, OrderUpdated, PaymentStatus


class Kind(StrEnum):
    """What a mail is about; its templates have the same name."""

    ORDER_CONFIRMED = "order_confirmed"
    STATUS_CHANGED = "status_changed"
    PAYMENT_FAILED = "payment_failed"
    REFUND_MADE = "refund_made"
    LATE_PAYMENT_RETURNED = "late_payment_returned"


@dataclass(frozen=True, slots=True)
class Told:
    """What has been made into mails of an order so far."""

    version: int = 0
    changes: int = 0
    """Entries of the history."""
    amount_refunded: int = 0
    payment_failed: bool = False


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to send, once per `(order_id, kind, number)`."""

    order_id: UUID
    kind: Kind
    number: int
    facts: dict[str, Any]
    """What the template says. Money is text already."""
    news_at: datetime


_TOLD_AS: Final = {
    OrderStatus.CONFIRMED: Kind.ORDER_CONFIRMED,
    OrderStatus.PROCESSING: Kind.STATUS_CHANGED,
    OrderStatus.SHIPPED: Kind.STATUS_CHANGED,
    OrderStatus.DELIVERED: Kind.STATUS_CHANGED,
    OrderStatus.CANCELLED: Kind.STATUS_CHANGED,
}


def mails_of(order: OrderUpdated, told: Told, since: datetime) -> list[Mail]:
    """The mails that are due. News from before `since` comes too late to be of use."""
    if order.version <= told.version:
        return []
    news = (*_status_news(order, told), *_money_news(order, told))
    return [mail for mail in news if mail.news_at >= since]


def told_after(order: OrderUpdated, told: Told) -> Told:
    """What has been told once the mails of this version are queued. Money that a bank sent back
    counts as not refunded: the next refund is news again."""
    if order.version <= told.version:
        return told
    return Told(
        version=order.version,
        changes=len(order.history),
        amount_refunded=order.amount_refunded,
        payment_failed=order.payment_status is PaymentStatus.FAILED,
    )


def _status_news(order: OrderUpdated, told: Told) -> Iterator[Mail]:
    for number, change in enumerate(order.history[told.changes :], told.changes + 1):
        kind = _TOLD_AS.get(change.new_status)
        if kind is None:
            continue
        facts = _order_facts(order) | {"status": change.new_status.value}
        if change.new_status is OrderStatus.CANCELLED:
            facts["reason"] = change.reason
        yield Mail(order.order_id, kind, number, facts, change.created_at)


def _money_news(order: OrderUpdated, told: Told) -> Iterator[Mail]:
    facts = _order_facts(order)
    if order.payment_status is PaymentStatus.FAILED and not told.payment_failed:
        yield Mail(order.order_id, Kind.PAYMENT_FAILED, order.version, facts, order.updated_at)
    returned = order.amount_refunded - told.amount_refunded
    if returned > 0:
        # An order that money was kept for has been confirmed at some time.
        kept = any(change.new_status is OrderStatus.CONFIRMED for change in order.history)
        kind = Kind.REFUND_MADE if kept else Kind.LATE_PAYMENT_RETURNED
        facts |= {
            "amount": _money(order, returned),
            "in_full": order.payment_status is PaymentStatus.REFUNDED,
        }
        yield Mail(order.order_id, kind, order.version, facts, order.updated_at)


def _order_facts(order: OrderUpdated) -> dict[str, Any]:
    return {
        "items": [
            {
                "name": item.name,
                "quantity": item.quantity,
                "price": _money(order, item.price * item.quantity),
            }
            for item in order.items
        ],
        "total": None if order.total is None else _money(order, order.total),
    }


def _money(order: OrderUpdated, amount: int) -> str:
    return format_money(amount, order.currency or "zar")
