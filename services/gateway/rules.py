"""What the gateway decides by itself, from an order as its view shows it. Pure.

These checks give the caller an answer at once. The view may be a moment old, so the order service
makes the same decisions again, with authority.
"""

from contracts.order import (
    STATUS_TRANSITIONS,
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    OrderUpdated,
    PaymentStatus,
    Problem,
    RefundOrder,
)

_BY_HAND_NEVER = OrderStatus.CONFIRMED
"""Only a payment confirms an order."""
_CUSTOMER_CANCELS = frozenset({OrderStatus.PENDING, OrderStatus.CONFIRMED})
_HOLDS_MONEY = frozenset({PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED})


class Refused(Exception):  # noqa: N818  # an answer more than an error
    """The order's state forbids it; `allowed` are the statuses that can be asked for."""

    def __init__(self, detail: str, allowed: list[OrderStatus]) -> None:
        super().__init__(detail)
        self.detail = detail
        self.allowed = allowed


def is_decided(order: OrderUpdated) -> bool:
    """Whether a customer who waits for a placed order can be told what became of it."""
    return bool(order.payment or order.problems) or order.status is not OrderStatus.PENDING


def refusal(order: OrderUpdated) -> list[Problem]:
    """Why a decided order could not be placed; empty when it was."""
    if order.problems:
        return list(order.problems)
    if order.status is OrderStatus.CANCELLED and order.payment is None:
        reason = order.history[-1].reason if order.history else None
        return [Problem(code="order_cancelled", message=reason or "The order was cancelled")]
    return []


def staff_may_set(order: OrderUpdated) -> list[OrderStatus]:
    """The statuses that staff can ask for now, in the order of the state machine."""
    possible = set(STATUS_TRANSITIONS[order.status]) - {_BY_HAND_NEVER}
    if order.payment_status not in _HOLDS_MONEY:
        possible.discard(OrderStatus.REFUNDED)
    return [status for status in OrderStatus if status in possible]


def customer_cancels(order: OrderUpdated, *, reason: str) -> CancelOrder:
    """Raises Refused once the order is being processed, or is over."""
    if order.status not in _CUSTOMER_CANCELS:
        raise Refused(f"An order that is {order.status} cannot be cancelled", [])
    return CancelOrder(order_id=order.order_id, requested_by=order.customer_id, reason=reason)


def staff_sets_status(
    order: OrderUpdated, status: OrderStatus, *, by: str, reason: str, admin_notes: str | None
) -> CancelOrder | RefundOrder | ChangeOrderStatus:
    """The command that moves the order to `status`. Raises Refused."""
    allowed = staff_may_set(order)
    if status not in allowed:
        if status is _BY_HAND_NEVER:
            detail = "An order is confirmed by its payment, not by hand"
        elif status is OrderStatus.REFUNDED and order.payment_status not in _HOLDS_MONEY:
            detail = f"Nothing can be refunded: the payment is {order.payment_status}"
        else:
            detail = f"An order that is {order.status} cannot become {status}"
        raise Refused(detail, allowed)
    if status is OrderStatus.CANCELLED:
        return CancelOrder(
            order_id=order.order_id,
            requested_by=by,
            by_staff=True,
            reason=reason,
            admin_notes=admin_notes,
        )
    if status is OrderStatus.REFUNDED:
        return RefundOrder(
            order_id=order.order_id, requested_by=by, reason=reason, admin_notes=admin_notes
        )
    return ChangeOrderStatus(
        order_id=order.order_id,
        status=status,
        requested_by=by,
        reason=reason,
        admin_notes=admin_notes,
    )


def staff_refunds(
    order: OrderUpdated,
    *,
    amount: int | None,
    restock: bool | None,
    by: str,
    reason: str,
    admin_notes: str | None,
) -> RefundOrder:
    """A refund of `amount` minor units, or of what is left. Raises Refused.

    A cancelled or refunded order may hold money again, archived or not: when the bank sent a refund
    back.
    """
    allowed = staff_may_set(order)
    if order.payment_status not in _HOLDS_MONEY:
        raise Refused(f"Nothing can be refunded: the payment is {order.payment_status}", allowed)
    settled = order.status is OrderStatus.ARCHIVED and not _was_undone(order)
    if settled or order.status is OrderStatus.PENDING:
        raise Refused(f"An order that is {order.status} cannot be refunded", allowed)
    left = (order.total or 0) - order.amount_refunded
    if amount is not None and amount > left:
        raise Refused(f"At most {left} can still be refunded, in minor units", allowed)
    return RefundOrder(
        order_id=order.order_id,
        amount=amount,
        restock=restock,
        requested_by=by,
        reason=reason,
        admin_notes=admin_notes,
    )


def _was_undone(order: OrderUpdated) -> bool:
    undone = (OrderStatus.CANCELLED, OrderStatus.REFUNDED)
    return any(change.new_status in undone for change in order.history)
