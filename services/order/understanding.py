"""What a message means to an order: the event that the saga's table knows.

Commands of people come over the wire in a form that suits people. Whatever depends on more than
the order's state is decided here, so that the table needs no branches. Pure.
"""

from uuid import UUID

from contracts.message import Message
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    RefundOrder,
    RetryRefund,
    SettleRefund,
)
from contracts.payment import (
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    RefundFailed,
    RefundPossible,
)
from services.order import refunds
from services.order.events import (
    Archive,
    Asked,
    ClosedBySql,
    CustomerCancels,
    Deliver,
    Event,
    Impossible,
    Overtaken,
    RefundAll,
    RefundAndRestock,
    RefundedAndRestock,
    RefundedKeepStock,
    RefundKeepStock,
    RefundOwed,
    RefundPart,
    RefundRefused,
    RefusedWhenConfirmed,
    RefusedWhenDelivered,
    RefusedWhenProcessing,
    RefusedWhenShipped,
    SettleAll,
    SettleAndRestock,
    SettleKeepStock,
    SettlePart,
    Ship,
    StaffCancels,
    StartProcessing,
)
from services.order.order import Order, State

_STATUS_EVENTS: dict[OrderStatus, type[Asked]] = {
    OrderStatus.PROCESSING: StartProcessing,
    OrderStatus.SHIPPED: Ship,
    OrderStatus.DELIVERED: Deliver,
    OrderStatus.ARCHIVED: Archive,
    OrderStatus.CANCELLED: StaffCancels,
    OrderStatus.REFUNDED: RefundAll,
}

_EDITS: dict[OrderStatus, type[Asked]] = _STATUS_EVENTS | {OrderStatus.CANCELLED: ClosedBySql}
_AMBIGUOUS = (OrderStatus.REFUNDED,)  # the money may have gone back, or is to go back

_REFUSED_EVENTS: dict[OrderStatus, type[RefundRefused]] = {
    OrderStatus.CONFIRMED: RefusedWhenConfirmed,
    OrderStatus.PROCESSING: RefusedWhenProcessing,
    OrderStatus.SHIPPED: RefusedWhenShipped,
    OrderStatus.DELIVERED: RefusedWhenDelivered,
}

_IN_FULFILMENT = frozenset({State.CONFIRMED, State.PROCESSING, State.SHIPPED, State.DELIVERED})
_RETURNING = frozenset(
    {State.RETURNING_MONEY, State.RETURNING_LATE, State.REFUNDING, State.REFUNDING_ONLY}
)
_ENDED_UNDONE = frozenset({State.CANCELLED, State.REFUNDED, State.ARCHIVED_UNDONE})
_UNDONE = frozenset({State.RESTORING, State.CANCELLED, State.ARCHIVED_UNDONE})

_NO_DECISION = "no refund of this order waits for a decision"


def edited(status: OrderStatus, by: str) -> Asked | None:
    """What an edit of the status by SQL asks of the saga; None where that is not clear."""
    asked = None if status in _AMBIGUOUS else _EDITS.get(status)
    return asked(by, f"set to {status} in the database") if asked else None


def understand(message: Message, message_id: UUID, order: Order) -> Event:
    """What a message means to the order as it is."""
    match message:
        case CancelOrder():
            asked = StaffCancels if message.by_staff else CustomerCancels
            return asked(message.requested_by, message.reason, message.admin_notes)
        case ChangeOrderStatus():
            return _understand_status(message, order)
        case RefundOrder():
            return _understand_refund(message, message_id, order)
        case RetryRefund():
            return _understand_retry(message, message_id, order)
        case SettleRefund():
            return _understand_settlement(message, order)
        case PaymentSucceeded():
            return _understand_success(message, order)
        case PaymentRefunded():
            return _understand_all_back(message, order)
        case PaymentPartiallyRefunded():
            return _understand_part_back(message, order)
        case RefundFailed():
            return _understand_failure(message, order)
        case RefundPossible():
            owed = order.state in _ENDED_UNDONE and order.refused_refund is not None
            return RefundOwed(message) if owed else message
        case _:
            return message  # type: ignore[return-value]  # the saga's table knows its messages


# -- what people ask ---------------------------------------------------------------------------


def _understand_status(message: ChangeOrderStatus, order: Order) -> Event:
    by_status = _STATUS_EVENTS.get(message.status)
    if by_status is None:
        reason = f"only the payment makes an order {message.status}"
        return Impossible(message.requested_by, reason)
    if by_status is RefundAll:
        if not (order.paid and order.left):
            return Impossible(message.requested_by, "there is no payment to refund")
        by_status = _refund_of_all(None, order)
    return by_status(message.requested_by, message.reason, message.admin_notes)


def _understand_refund(message: RefundOrder, message_id: UUID, order: Order) -> Event:
    by, reason, notes = message.requested_by, message.reason, message.admin_notes
    if not (order.paid and order.left):
        return Impossible(by, "there is no payment to refund")
    if message.amount is None:
        return _refund_of_all(message.restock, order)(by, reason, notes)
    under_way = refunds.parts_under_way(order.refunds)
    if message.amount > order.refundable:
        also = f"; {under_way} are on their way" if under_way else ""
        return Impossible(by, f"only {order.refundable} of the payment is left to refund{also}")
    if message.amount < order.refundable or under_way:
        # While others are under way, the sum that is left is not exact: a fixed amount stays so.
        return RefundPart(
            by,
            reason,
            notes,
            refund_id=message_id,
            amount=message.amount,
            restock=message.restock,
        )
    return _refund_of_all(message.restock, order)(by, reason, notes)


def _refund_of_all(restock: bool | None, order: Order) -> type[Asked]:
    choice = refunds.restock_choice(order.refunds) if restock is None else restock
    if choice is None:
        return RefundAll
    return RefundAndRestock if choice else RefundKeepStock


def _understand_retry(message: RetryRefund, message_id: UUID, order: Order) -> Event:
    by, reason = message.requested_by, message.reason
    waiting = refunds.refused(order.refunds)
    if not waiting or not order.refused_amount:
        return Impossible(by, _NO_DECISION)
    if any(it.rest for it in waiting) or order.state in _ENDED_UNDONE:
        return _refund_of_all(None, order)(by, reason)
    amount = min(order.refused_amount, order.refundable)
    if not amount:
        return Impossible(by, "the money is on its way by other refunds")
    return RefundPart(by, reason, refund_id=message_id, amount=amount, again=True)


def _understand_settlement(message: SettleRefund, order: Order) -> Event:
    by, reason, amount, restock = (
        message.requested_by,
        message.reason,
        message.amount,
        message.restock,
    )
    if order.refused_refund is None:
        return Impossible(by, _NO_DECISION)
    if amount > order.refundable:
        return Impossible(by, f"only {order.refundable} of the payment is left to give back")
    if order.state not in _IN_FULFILMENT:
        restored = order.state in (State.RESTORING, State.CANCELLED)
        if restock is not None and not (restored and restock):
            ended = "back on sale already" if restored else "settled already"
            return Impossible(by, f"the stock of this order is {ended}; adjust it by hand")
        return SettlePart(by, reason, amount=amount)
    if amount < order.left:
        return SettlePart(by, reason, amount=amount, restock=restock)
    choice = refunds.restock_choice(order.refunds) if restock is None else restock
    settle = SettleAll if choice is None else SettleAndRestock if choice else SettleKeepStock
    return settle(by, reason, amount=amount, restock=restock)


# -- news of payment ---------------------------------------------------------------------------


def _understand_success(message: PaymentSucceeded, order: Order) -> Event:
    """A payment counts once: repeated news of it must not refund what staff decide about."""
    asked = any(it.rest for it in order.refunds)
    if order.state in _UNDONE and order.paid and (asked or not order.left):
        return Overtaken(message)
    return message


def _understand_all_back(message: PaymentRefunded, order: Order) -> Event:
    if message.payment_version < order.payment_version and order.left:
        return Overtaken(message)
    if order.state in _IN_FULFILMENT:
        choice = refunds.restock_choice(order.refunds)
        if choice is not None:
            return RefundedAndRestock(message) if choice else RefundedKeepStock(message)
    return message


def _understand_part_back(message: PaymentPartiallyRefunded, order: Order) -> Event:
    """With what staff gave back outside Stripe, a part may be all."""
    back = message.amount_refunded + message.amount_lost + (order.amount_settled or 0)
    overtaken = message.payment_version < order.payment_version
    if overtaken or order.total is None or back < order.total:
        return message
    return _understand_all_back(PaymentRefunded(**dict(message)), order)


def _understand_failure(message: RefundFailed, order: Order) -> Event:
    if not message.final or order.state not in _RETURNING:
        return message
    rest = refunds.rest_under_way(order.refunds)
    if rest is not None and rest.refund_id != message.refund_id:
        return message  # of another refund: what is left includes its money
    return _REFUSED_EVENTS.get(order.status, RefundRefused)(message)
