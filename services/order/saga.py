"""The checkout saga: the whole way of one order, as one table.

Read ROWS from top to bottom: the happy path, then how it is undone, newest step first, then what
staff may do, then what comes late. `advance` is the only code that changes an order's state.
Nothing here does I/O or looks at a clock.

A state that is waiting for an answer has a deadline (see `deadlines`); when it passes, the same
command is sent again, for ever: undo never gives up. States are never removed or renamed while
rows hold them.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.message import Message
from contracts.order import STATUS_TRANSITIONS, OrderStatus, PlaceOrder, StatusChange
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
from services.order.commands import (
    Command,
    cancel_payment,
    commit_stock,
    refund_part,
    refund_rest,
    request_payment,
    reserve_stock,
    restore_stock,
)
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
    ReservationExpired,
    SettleAll,
    SettleAndRestock,
    SettleKeepStock,
    SettlePart,
    Ship,
    StaffCancels,
    StartProcessing,
    StepTimedOut,
)
from services.order.order import STATUS, Order, State
from services.order.recording import Changes, begin_rest, describe, record
from services.order.understanding import edited


class Go(NamedTuple):
    """Move to `state` (None: stay), and send these commands in the same transaction."""

    state: State | None
    send: tuple[Command, ...]


class Stay(NamedTuple):
    """Heard and deliberately without effect on the state."""

    because: str


class Refuse(NamedTuple):
    """A person asked for what this state forbids; they are told."""

    because: str


Rule = Go | Stay | Refuse


def go(state: State | None, *send: Command) -> Go:
    return Go(state, send)


(
    RESERVING, REQUESTING_PAYMENT, AWAITING_PAYMENT,
    CONFIRMED, PROCESSING, SHIPPED, DELIVERED, ARCHIVED,
    CANCELLING_PAYMENT, WITHDRAWING, RETURNING_MONEY, RESTORING, CANCELLED,
    REFUNDING, REFUNDING_ONLY, RESTOCKING, REFUNDED, ARCHIVED_UNDONE, RETURNING_LATE,
) = State  # fmt: skip

OPEN = (REQUESTING_PAYMENT, AWAITING_PAYMENT, CANCELLING_PAYMENT, WITHDRAWING)
ON_SHELF = (CONFIRMED, PROCESSING)
GONE = (SHIPPED, DELIVERED)
GIVING_BACK = (REFUNDING, REFUNDING_ONLY, RESTOCKING)
PAID = (*ON_SHELF, *GONE, ARCHIVED, *GIVING_BACK, REFUNDED)
UNDONE = (RETURNING_MONEY, RESTORING, CANCELLED, ARCHIVED_UNDONE, RETURNING_LATE)
RETURNING = (RETURNING_MONEY, RETURNING_LATE)
UNDER_WAY = (CANCELLING_PAYMENT, WITHDRAWING, *RETURNING, RESTORING, *GIVING_BACK)
ARCHIVES = (ARCHIVED, ARCHIVED_UNDONE, RETURNING_LATE)
REFUND_UNDER_WAY = (REFUNDING, REFUNDING_ONLY)
DECIDABLE = (
    *ON_SHELF,
    *GONE,
    ARCHIVED,
    RESTORING,
    CANCELLED,
    RESTOCKING,
    REFUNDED,
    ARCHIVED_UNDONE,
)
"""States in which a refund can wait for a decision."""

CANCELS = (CustomerCancels, StaffCancels)
REFUNDS = (RefundAll, RefundAndRestock, RefundKeepStock)
FULFILMENT = (StartProcessing, Ship, Deliver, Archive)

Row = tuple[State | tuple[State, ...], type | tuple[type, ...], Rule]

# fmt: off
ROWS: list[Row] = [
    # when the order is      and we hear           it becomes        and we send
    (RESERVING,              StockReserved,        go(REQUESTING_PAYMENT, request_payment)),
    (REQUESTING_PAYMENT,     PaymentIntentCreated, go(AWAITING_PAYMENT)),
    (REQUESTING_PAYMENT,     PaymentSucceeded,     go(CONFIRMED, commit_stock)),
    (AWAITING_PAYMENT,       PaymentSucceeded,     go(CONFIRMED, commit_stock)),

    # -- staff and parcels
    (CONFIRMED,              StartProcessing,      go(PROCESSING)),
    (PROCESSING,             Ship,                 go(SHIPPED)),
    (SHIPPED,                Deliver,              go(DELIVERED)),
    (DELIVERED,              Archive,              go(ARCHIVED)),
    (CANCELLED,              Archive,              go(ARCHIVED_UNDONE)),
    (REFUNDED,               Archive,              go(ARCHIVED_UNDONE)),

    # -- undo before the payment: cancel at Stripe first, release the stock when nobody can pay
    (RESERVING,              StockRejected,        go(CANCELLED)),
    (RESERVING,              ReservationExpired,   go(RESTORING, restore_stock)),
    (RESERVING,              CANCELS,              go(RESTORING, restore_stock)),
    (REQUESTING_PAYMENT,     PaymentFailed,        go(CANCELLING_PAYMENT, cancel_payment)),
    (REQUESTING_PAYMENT,     ReservationExpired,   go(CANCELLING_PAYMENT, cancel_payment)),
    (REQUESTING_PAYMENT,     PaymentCanceled,      go(RESTORING, restore_stock)),
    (REQUESTING_PAYMENT,     CANCELS,              go(WITHDRAWING, cancel_payment)),
    (AWAITING_PAYMENT,       PaymentFailed,        go(CANCELLING_PAYMENT, cancel_payment)),
    (AWAITING_PAYMENT,       ReservationExpired,   go(CANCELLING_PAYMENT, cancel_payment)),
    (AWAITING_PAYMENT,       PaymentCanceled,      go(RESTORING, restore_stock)),
    (AWAITING_PAYMENT,       CANCELS,              go(WITHDRAWING, cancel_payment)),
    (CANCELLING_PAYMENT,     PaymentCanceled,      go(RESTORING, restore_stock)),
    (CANCELLING_PAYMENT,     PaymentSucceeded,     go(CONFIRMED, commit_stock)),
    (CANCELLING_PAYMENT,     CANCELS,              go(WITHDRAWING, cancel_payment)),
    (WITHDRAWING,            PaymentCanceled,      go(RESTORING, restore_stock)),
    (WITHDRAWING,            PaymentSucceeded,     go(RETURNING_MONEY, refund_rest)),

    # -- undo after the payment: money first, then stock
    (CONFIRMED,              CustomerCancels,      go(RETURNING_MONEY, refund_rest)),
    (ON_SHELF,               StaffCancels,         go(RETURNING_MONEY, refund_rest)),
    (RETURNING_MONEY,        PaymentRefunded,      go(RESTORING, restore_stock)),
    (RESTORING,              StockRestored,        go(CANCELLED)),

    # -- money that arrives after a cancellation goes back
    ((RESTORING, CANCELLED), PaymentSucceeded,     go(RETURNING_MONEY, refund_rest)),
    (ARCHIVED_UNDONE,        PaymentSucceeded,     go(RETURNING_LATE, refund_rest)),
    (RETURNING_LATE,         PaymentRefunded,      go(ARCHIVED_UNDONE)),

    # -- refunds
    (ON_SHELF,               (RefundAll, RefundAndRestock), go(REFUNDING, refund_rest)),
    (ON_SHELF,               RefundKeepStock,      go(REFUNDING_ONLY, refund_rest)),
    (GONE,                   RefundAndRestock,     go(REFUNDING, refund_rest)),
    (GONE,                   (RefundAll, RefundKeepStock),  go(REFUNDING_ONLY, refund_rest)),
    (ON_SHELF + GONE,        RefundPart,           go(None, refund_part)),
    (REFUNDING,              PaymentRefunded,      go(RESTOCKING, restore_stock)),
    (REFUNDING_ONLY,         PaymentRefunded,      go(REFUNDED)),
    (RESTOCKING,             StockRestored,        go(REFUNDED)),
    # ... at Stripe, by a lost dispute, or by parts
    (ON_SHELF,               (PaymentRefunded, RefundedAndRestock), go(RESTOCKING, restore_stock)),
    (ON_SHELF,               RefundedKeepStock,    go(REFUNDED)),
    (GONE,                   (PaymentRefunded, RefundedKeepStock),  go(REFUNDED)),
    (GONE,                   RefundedAndRestock,   go(RESTOCKING, restore_stock)),
    # ... again by hand, when the bank sent an earlier one back, or Stripe had refused it
    (CANCELLED,              REFUNDS,              go(RETURNING_MONEY, refund_rest)),
    (REFUNDED,               REFUNDS,              go(REFUNDING_ONLY, refund_rest)),
    (ARCHIVED_UNDONE,        REFUNDS,              go(RETURNING_LATE, refund_rest)),

    # -- Stripe refuses a refund for good: the order goes on, and staff decide about the money
    (RETURNING_MONEY,        RefundRefused,        go(RESTORING, restore_stock)),
    (RETURNING_LATE,         RefundRefused,        go(ARCHIVED_UNDONE)),
    (REFUND_UNDER_WAY,       RefusedWhenConfirmed, go(CONFIRMED)),
    (REFUND_UNDER_WAY,       RefusedWhenProcessing, go(PROCESSING)),
    (REFUND_UNDER_WAY,       RefusedWhenShipped,   go(SHIPPED)),
    (REFUND_UNDER_WAY,       RefusedWhenDelivered, go(DELIVERED)),
    (REFUNDING_ONLY,         RefundRefused,        go(REFUNDED)),  # asked once more after its end
    # ... they gave it back outside Stripe
    (ON_SHELF,               (SettleAll, SettleAndRestock), go(RESTOCKING, restore_stock)),
    (ON_SHELF,               SettleKeepStock,      go(REFUNDED)),
    (GONE,                   (SettleAll, SettleKeepStock),  go(REFUNDED)),
    (GONE,                   SettleAndRestock,     go(RESTOCKING, restore_stock)),
    (DECIDABLE,              SettlePart,           go(None)),
    # ... a dispute was won, and the customer got neither goods nor money
    (CANCELLED,              RefundOwed,           go(RETURNING_MONEY, refund_rest)),
    (REFUNDED,               RefundOwed,           go(REFUNDING_ONLY, refund_rest)),
    (ARCHIVED_UNDONE,        RefundOwed,           go(RETURNING_LATE, refund_rest)),

    # -- closed by SQL: the status stays, payment and stock follow
    (RESERVING,              ClosedBySql,          go(RESTORING, restore_stock)),
    (OPEN[:3],               ClosedBySql,          go(WITHDRAWING, cancel_payment)),
    ((*ON_SHELF, REFUNDING), ClosedBySql,          go(RETURNING_MONEY, refund_rest)),
    (CANCELLED,              ClosedBySql,          go(WITHDRAWING, cancel_payment)),  # state, too

    # -- no answer yet: ask again; undo never gives up
    (RESERVING,              StepTimedOut,         go(RESERVING, reserve_stock)),
    (REQUESTING_PAYMENT,     StepTimedOut,         go(REQUESTING_PAYMENT, request_payment)),
    (CANCELLING_PAYMENT,     StepTimedOut,         go(CANCELLING_PAYMENT, cancel_payment)),
    (WITHDRAWING,            StepTimedOut,         go(WITHDRAWING, cancel_payment)),
    (RETURNING_MONEY,        StepTimedOut,         go(RETURNING_MONEY, refund_rest)),
    (RETURNING_LATE,         StepTimedOut,         go(RETURNING_LATE, refund_rest)),
    (RESTORING,              StepTimedOut,         go(RESTORING, restore_stock)),
    (REFUNDING,              StepTimedOut,         go(REFUNDING, refund_rest)),
    (REFUNDING_ONLY,         StepTimedOut,         go(REFUNDING_ONLY, refund_rest)),
    (RESTOCKING,             StepTimedOut,         go(RESTOCKING, restore_stock)),

    # -- late, crossed and repeated messages
    (OPEN + UNDONE + PAID,   StockReserved,        Stay("repeated, or crossed our restore")),
    ((*UNDONE, RESTOCKING, REFUNDED, REFUNDING_ONLY), StockRejected, Stay("crossed our restore")),
    (RETURNING_MONEY,        StockRestored,        Stay("restored before the late money came")),
    (WITHDRAWING,            (StockRejected, StockRestored), Stay("crossed an edit by SQL")),
    ((CANCELLED, REFUNDED, REFUNDING_ONLY, *ARCHIVES[1:]), StockRestored, Stay("repeated")),
    (OPEN[1:] + UNDONE + PAID, PaymentIntentCreated, Stay("repeated, or overtaken")),
    (OPEN + UNDONE + PAID,   PaymentUpdated,       Stay("shown on the order, decides nothing")),
    (UNDER_WAY[:2] + UNDONE + PAID, PaymentFailed, Stay("overtaken, or undone already")),
    ((*RETURNING, *PAID),    PaymentSucceeded,     Stay("repeated")),
    (UNDONE,                 PaymentCanceled,      Stay("repeated")),
    (PAID,                   PaymentCanceled,      Stay("overtaken by the payment")),
    (OPEN,                   PaymentRefunded,      go(RESTORING, restore_stock)),  # overtook
    ((RESTORING, CANCELLED, RESTOCKING, REFUNDED, *ARCHIVES[:2]), PaymentRefunded,
                                                   Stay("repeated")),
    (OPEN + UNDONE + PAID,   PaymentPartiallyRefunded, Stay("shown on the order")),
    (OPEN + UNDONE + PAID,   RefundFailed,         Stay("the timer asks again, or staff decide")),
    (OPEN + UNDONE + PAID,   RefundPossible,       Stay("shown to staff, if they have to decide")),

    # -- what people ask for at the wrong time
    ((WITHDRAWING, RETURNING_MONEY, RESTORING, CANCELLED), CANCELS, Stay("cancelled already")),
    (PROCESSING,             CustomerCancels,      Refuse("the order is being prepared")),
    (GONE,                   CANCELS,              Refuse("the order has left; refund it")),
    ((*GIVING_BACK, REFUNDED), CANCELS,            Refuse("the order is being refunded")),
    (ARCHIVES,               CANCELS,              Refuse("the order is archived")),
    (ARCHIVED,               REFUNDS,              Refuse("the order is archived")),
    ((RESERVING, *OPEN),     REFUNDS,              Refuse("there is nothing to refund")),
    (UNDER_WAY[2:],          REFUNDS,              Refuse("a refund is under way")),
    (WITHDRAWING,            SettlePart,           Refuse("closed: a refund follows")),
    ((RESERVING, *OPEN, *UNDONE, *GIVING_BACK, REFUNDED, ARCHIVED), RefundPart,
                                                   Refuse("a part cannot be refunded now")),
]
# fmt: on


def _compile(rows: list[Row]) -> dict[tuple[State, type], Rule]:
    table: dict[tuple[State, type], Rule] = {}
    for states, events, rule in rows:
        for state in states if isinstance(states, tuple) else (states,):
            for event in events if isinstance(events, tuple) else (events,):
                if (state, event) in table:
                    raise ValueError(f"two rows for {event.__name__} while {state}")
                table[state, event] = rule
    for state in State:
        table[state, Impossible] = Refuse("no state allows that")
        table[state, Overtaken] = Stay("newer news of the money is known")
        for event in FULFILMENT:
            table.setdefault((state, event), Refuse("not from this status"))
    return table


TRANSITIONS: Final = _compile(ROWS)


def begin(command: PlaceOrder, now: datetime, reservation: timedelta) -> Order:
    """A new order, which waits for its stock."""
    placed = StatusChange(
        old_status=None,
        new_status=OrderStatus.PENDING,
        changed_by=command.customer_id,
        reason="placed",
        created_at=now,
    )
    return Order(
        id=command.order_id,
        customer_id=command.customer_id,
        state=RESERVING,
        status=OrderStatus.PENDING,
        lines=command.lines,
        wanted_currency=command.currency,
        updated_by=command.customer_id,
        reason="placed",
        expires_at=now + reservation,
        created_at=now,
        updated_at=now,
        history=(placed,),
    )


class Step(NamedTuple):
    """What an event made of an order."""

    order: Order
    send: tuple[Message, ...] = ()
    refused: str | None = None
    changed: bool = False
    """Whether the order has a new version to announce."""


class UnexpectedEventError(Exception):
    """The table has no row for this state and event; a person must look at the message."""


def advance(order: Order, event: Event, now: datetime) -> Step:
    """The only way an order changes.

    Raises:
        UnexpectedEventError: nobody thought of this event in this state.
    """
    rule = TRANSITIONS.get((order.state, type(event)))
    if rule is None:
        raise UnexpectedEventError(f"{type(event).__name__} while {order.state}")
    if isinstance(rule, Refuse):
        reason = event.reason if isinstance(event, Impossible) else rule.because
        return Step(order, refused=reason)
    changes = record(order, event)
    if isinstance(rule, Go):
        state = rule.state or order.state
        changes |= {"state": state, "status": _status_in(state, order, event)}
        if refund_rest in rule.send:
            changes["refunds"] = begin_rest(order._replace(**changes), event)
    changed = any(getattr(order, name) != value for name, value in changes.items())
    moved = order._replace(**_signed(order, changes, event, now)) if changed else order
    send = tuple(command(moved, event) for command in rule.send) if isinstance(rule, Go) else ()
    return Step(moved, send, changed=changed)


def _status_in(state: State, order: Order, event: Event) -> OrderStatus:
    """The status that goes with a state. One that was set by SQL stays while nothing may follow it:
    the order is shown as closed until its payment and stock have followed."""
    follows = STATUS[state] or order.status
    by_sql = isinstance(event, ClosedBySql) or order.status is not (
        STATUS[order.state] or order.status
    )
    if by_sql and follows not in STATUS_TRANSITIONS[order.status]:
        return order.status
    return follows


def follow_up(order: Order) -> Asked | None:
    """What an edit of the order by SQL asks of the saga.

    None when there was no edit, and when the saga cannot follow: then the order `contradicts`, and
    a person must decide.
    """
    if not (order.contradicts or (order.state is CANCELLED and order.edits)):
        return None
    event = edited(order.status, order.edits[-1].changed_by if order.edits else "database")
    if event is None or not isinstance(TRANSITIONS.get((order.state, type(event))), Go):
        return None
    return event


def _signed(order: Order, changes: Changes, event: Event, now: datetime) -> Changes:
    """Who, why and when. What a person or a failure started keeps that name to its end."""
    by, reason = describe(event)
    goes_on = order.state in UNDER_WAY and changes.get("state") not in ON_SHELF + GONE
    if goes_on and not isinstance(event, Asked):
        by, reason = order.updated_by, order.reason or reason
    status = changes.get("status", order.status)
    if status is not order.status:
        change = StatusChange(
            old_status=order.status,
            new_status=status,
            changed_by=by,
            reason=reason,
            created_at=now,
        )
        changes["history"] = (*order.history, change)
    return changes | {
        "updated_by": by,
        "reason": reason,
        "updated_at": now,
        "version": order.version + 1,
    }
