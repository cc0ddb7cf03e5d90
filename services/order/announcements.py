"""What the world hears of an order's new version: the order itself, and the audit record; and of
one that waits: how."""

from datetime import datetime

from contracts.audit import OrderAudited, OrderWaits
from contracts.order import OrderUpdated, PaymentView
from services.order.order import Order
from services.order.stuck_store import StuckOrder


def order_updated(order: Order) -> OrderUpdated:
    payment = None
    if order.payment_intent_id is not None:
        payment = PaymentView(
            payment_intent_id=order.payment_intent_id,
            client_secret=order.client_secret,
            status=order.intent_status,
        )
    return OrderUpdated(
        order_id=order.id,
        version=order.version,
        customer_id=order.customer_id,
        status=order.status,
        payment_status=order.payment_status,
        total=order.total,
        currency=order.currency,
        items=order.items,
        payment=payment,
        problems=order.problems,
        amount_refunded=order.amount_refunded,
        history=order.history,
        updated_by=order.updated_by,
        admin_notes=order.admin_notes,
        created_at=order.created_at,
        updated_at=order.updated_at,
    )


def order_audited(before: Order | None, after: Order, action: str) -> OrderAudited:
    """`action` is the wire name of what caused the change, or the saga's own event."""
    return OrderAudited(
        order_id=after.id,
        version=after.version,
        action=action,
        old_status=before.announced_status if before else None,
        new_status=after.status,
        payment_status=after.payment_status,
        saga_state=after.state,
        total=after.total,
        currency=after.currency,
        amount_refunded=after.amount_refunded,
        amount_lost=after.amount_lost,
        amount_settled=after.amount_settled,
        refused_refund=after.refused_refund,
        refused_amount=after.refused_amount,
        changed_by=after.updated_by,
        reason=after.reason,
        admin_notes=after.admin_notes,
        at=after.updated_at,
    )


def order_stuck(stuck: StuckOrder, reason: str, at: datetime) -> OrderWaits:
    """Of an order that cannot be advanced."""
    return OrderWaits(
        order_id=stuck.id,
        saga_state=stuck.saga_state,
        rounds=stuck.rounds,
        next_try_at=stuck.retry_at,
        stuck_reason=reason,
        at=at,
    )


def order_waits(order: Order, rounds: int, next_try_at: datetime, at: datetime) -> OrderWaits:
    """Of a round that passed without an answer. Ends what `order_stuck` has announced."""
    return OrderWaits(
        order_id=order.id,
        saga_state=order.state,
        rounds=rounds,
        next_try_at=next_try_at,
        at=at,
    )
