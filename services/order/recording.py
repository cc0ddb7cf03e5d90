"""What an event says about an order, noted whatever the order's state. Pure.

The saga decides what follows from it; `refunds` keeps the refunds apart.
"""

from typing import Any
from uuid import uuid5

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.order import PaymentStatus
from contracts.payment import (
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentUpdated,
    RefundFailed,
    RefundPossible,
)
from services.order import refunds
from services.order.events import (
    Asked,
    Event,
    Overtaken,
    RefundAndRestock,
    RefundedAndRestock,
    RefundedKeepStock,
    RefundKeepStock,
    RefundOwed,
    RefundPart,
    RefundRefused,
    ReservationExpired,
    SettlePart,
    Ship,
)
from services.order.order import Order, State
from services.order.refunds import AskedRefund, Outcome, Refunds

Changes = dict[str, Any]
"""Fields of an order and their new values."""


def record(order: Order, event: Event) -> Changes:
    """What the event says. A late or repeated event never takes back what is known."""
    match event:
        case StockReserved() if order.state is State.RESERVING:
            return {"items": event.items, "total": event.total, "currency": event.currency}
        case StockRejected() if order.state is State.RESERVING:
            return {"problems": event.problems}
        case PaymentIntentCreated():
            return {
                "payment_intent_id": event.payment_intent_id,
                "client_secret": event.client_secret,
                "intent_status": order.intent_status or event.intent_status,
            }
        case PaymentUpdated() if order.payment_status is PaymentStatus.UNPAID:
            return {"intent_status": event.intent_status}
        case PaymentSucceeded():
            return {
                "payment_intent_id": event.payment_intent_id,
                "intent_status": "succeeded",
                "payment_status": order.payment_status if order.paid else PaymentStatus.PAID,
            }
        case PaymentFailed() if order.payment_status is PaymentStatus.UNPAID:
            return {
                "payment_status": PaymentStatus.FAILED,
                "admin_notes": f"Payment failed: {event.message}",
            }
        case PaymentCanceled() if order.payment_intent_id is not None:
            return {"intent_status": "canceled"}
        case PaymentRefunded() | PaymentPartiallyRefunded() | RefundFailed():
            return _record_refund(order, event)
        case Overtaken() | RefundedAndRestock() | RefundedKeepStock() | RefundRefused():
            return record(order, event.news)
        case RefundPossible():
            return {"refunds": refunds.explain(order.refunds, event.message)}
        case RefundPart():
            return _noted(event) | {"refunds": _with_part(order.refunds, event)}
        case SettlePart():
            return _noted(event) | _record_settlement(order, event)
        case Ship():
            return _noted(event) | {"refunds": refunds.without_shelf(order.refunds)}
        case Asked():
            return _noted(event)
        case _:
            return {}


def begin_rest(order: Order, event: Event) -> Refunds:
    """The order's refunds when it asks for all that is left: the refund of before, as long as that
    is under way, otherwise a new one, which includes what was refused."""
    if refunds.rest_under_way(order.refunds) is not None:
        return order.refunds
    choices: dict[type, bool] = {RefundAndRestock: True, RefundKeepStock: False}
    rest = AskedRefund(
        refund_id=uuid5(order.id, f"refund:{order.version + 1}"),
        amount=None,
        rest=True,
        restock=choices.get(type(event)),
    )
    return (*refunds.decide(order.refunds, Outcome.REPLACED), rest)


def _noted(event: Asked) -> Changes:
    return {} if event.admin_notes is None else {"admin_notes": event.admin_notes}


def _with_part(known: Refunds, event: RefundPart) -> Refunds:
    if event.again:
        known = refunds.decide(known, Outcome.REPLACED)
    return (*known, AskedRefund(event.refund_id, event.amount, rest=False, restock=event.restock))


def _record_settlement(order: Order, event: SettlePart) -> Changes:
    settled = order._replace(amount_settled=(order.amount_settled or 0) + event.amount)
    return {
        "amount_settled": settled.amount_settled,
        "refunds": refunds.decide(order.refunds, Outcome.SETTLED, event.restock),
        "payment_status": _payment_status(settled),
    }


def _record_refund(
    order: Order, event: PaymentRefunded | PaymentPartiallyRefunded | RefundFailed
) -> Changes:
    changes: Changes = {}
    if event.payment_version >= order.payment_version:
        changes |= {"payment_version": event.payment_version, "amount_lost": event.amount_lost}
        changes["amount_refunded"] = event.amount_refunded
        if isinstance(event, RefundFailed):
            changes["admin_notes"] = f"Refund failed: {event.message}"
    after = order._replace(**changes)
    after = after._replace(refunds=_ended(after, event))
    if order.total is not None and not after.left:
        after = after._replace(refunds=refunds.decide(after.refunds, Outcome.SETTLED))
    if after.amount_refunded or after.amount_lost or order.paid:
        changes["payment_status"] = _payment_status(after)
    return changes | {"refunds": after.refunds}


def _ended(
    order: Order, event: PaymentRefunded | PaymentPartiallyRefunded | RefundFailed
) -> Refunds:
    """The refunds after news of one of them. The end of a refund counts also when newer sums are
    known."""
    known, rest = order.refunds, refunds.rest_under_way(order.refunds)
    asked = refunds.find(known, event.refund_id)
    if not isinstance(event, RefundFailed):
        all_back = isinstance(event, PaymentRefunded)
        if all_back and rest is not None and event.payment_version >= order.payment_version:
            known = refunds.end(known, rest.refund_id, Outcome.DONE)
        return refunds.end(known, event.refund_id, Outcome.DONE)
    if asked is not None:
        if not event.final and asked.rest and asked.outcome is None:
            return known  # the timer asks again
        # What is left includes it; if that has gone to Stripe already, the next round does.
        included = rest is not None and rest is not asked
        outcome = Outcome.REPLACED if included else Outcome.REFUSED
        return refunds.end(known, event.refund_id, outcome, _why(event))
    if rest is not None or not order.left or order.state not in _TO_BE_WITHOUT_MONEY:
        return known
    # Made in Stripe's dashboard, or by the release before: the customer is to have the money.
    unknown = event.refund_id or uuid5(order.id, f"returned:{event.payment_version}")
    return (*known, AskedRefund(unknown, None, True, None, Outcome.REFUSED, _why(event)))


def _why(event: RefundFailed) -> str:
    return f"{event.message} ({event.code})" if event.code else event.message


_TO_BE_WITHOUT_MONEY = frozenset(
    {
        State.RETURNING_MONEY,
        State.RESTORING,
        State.CANCELLED,
        State.REFUNDING,
        State.REFUNDING_ONLY,
        State.RESTOCKING,
        State.REFUNDED,
        State.ARCHIVED_UNDONE,
        State.RETURNING_LATE,
    }
)


def _payment_status(order: Order) -> PaymentStatus:
    if order.total is not None and not order.left:
        return PaymentStatus.REFUNDED
    if order.amount_refunded or order.amount_lost or order.amount_settled:
        return PaymentStatus.PARTIALLY_REFUNDED
    return PaymentStatus.PAID


def describe(event: Event) -> tuple[str, str]:
    """Who is behind an event, and why it changes the order."""
    match event:
        case Asked():
            return event.by, event.reason
        case StockReserved():
            return "inventory-service", "stock reserved"
        case StockRejected():
            return "inventory-service", " ".join(problem.message for problem in event.problems)
        case StockRestored():
            return "inventory-service", "stock restored"
        case PaymentFailed():
            return "payment-service", f"Payment failed: {event.message}"
        case PaymentSucceeded():
            return "payment-service", "payment succeeded"
        case PaymentCanceled():
            return "payment-service", "payment cancelled at Stripe"
        case PaymentRefunded() | PaymentPartiallyRefunded():
            return "payment-service", "refunded at Stripe"
        case RefundFailed():
            return "payment-service", f"Refund failed: {event.message}"
        case RefundPossible():
            return "payment-service", event.message
        case (
            Overtaken()
            | RefundedAndRestock()
            | RefundedKeepStock()
            | RefundRefused()
            | RefundOwed()
        ):
            return describe(event.news)
        case PaymentIntentCreated():
            return "payment-service", "payment requested"
        case PaymentUpdated():
            return "payment-service", f"payment is {event.intent_status}"
        case ReservationExpired():
            return "order-service", "not paid within the reservation time"
        case _:
            return "order-service", "no answer in time"
