"""The commands that the saga sends, each made from the order as it has become."""

from collections.abc import Callable

from contracts.inventory import CommitStock, ReserveStock, RestoreStock
from contracts.message import Message
from contracts.payment import CancelPayment, RefundPayment, RequestPayment
from services.order.events import Event, RefundPart
from services.order.order import Order
from services.order.refunds import rest_under_way

Command = Callable[[Order, Event], Message]


def reserve_stock(order: Order, _event: Event | None = None) -> Message:
    return ReserveStock(order_id=order.id, lines=order.lines, currency=order.wanted_currency)


def commit_stock(order: Order, _event: Event) -> Message:
    return CommitStock(order_id=order.id)


def restore_stock(order: Order, _event: Event) -> Message:
    return RestoreStock(order_id=order.id, reason=order.reason or "undone")


def request_payment(order: Order, _event: Event) -> Message:
    if order.total is None or order.currency is None:
        raise ValueError(f"order {order.id} has no total: its stock was never reserved")
    return RequestPayment(
        order_id=order.id,
        customer_id=order.customer_id,
        amount=order.total,
        currency=order.currency,
    )


def cancel_payment(order: Order, _event: Event) -> Message:
    return CancelPayment(order_id=order.id, reason=order.reason or "cancelled")


def refund_rest(order: Order, _event: Event) -> Message:
    rest = rest_under_way(order.refunds)
    if rest is None:
        raise ValueError(f"order {order.id} has no refund under way: `advance` begins one")
    return RefundPayment(
        order_id=order.id,
        refund_id=rest.refund_id,
        settled_outside=order.amount_settled or 0,
        reason=order.reason or "refunded",
    )


def refund_part(order: Order, event: Event) -> Message:
    if not isinstance(event, RefundPart):
        raise TypeError(f"a part is refunded because somebody asked, not because of {event!r}")
    return RefundPayment(
        order_id=order.id, refund_id=event.refund_id, amount=event.amount, reason=event.reason
    )
