"""What the order service does with each message: lock, decide, save, send.

A wave of messages holds each order once, so any number of orders is one pass: two statements to
lock and load, one to save.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import prometheus_client

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.message import Message
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    CommandRefused,
    OrderStatus,
    PlaceOrder,
    RefundOrder,
    RetryOrder,
    RetryRefund,
    SettleRefund,
)
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
from services.kit.errors import is_infrastructure
from services.kit.isolation import reason_of
from services.kit.messages import Incoming
from services.kit.work import Handler, Work
from services.order import store
from services.order.announcements import order_audited, order_updated, order_waits
from services.order.commands import reserve_stock
from services.order.dead_letters import InvalidOrder, unknown_state
from services.order.deadlines import Timer, Timing
from services.order.events import Asked, Event
from services.order.order import KNOWN_STATES, Order
from services.order.retrying import retry_now
from services.order.saga import Step, UnexpectedEventError, advance, begin, follow_up
from services.order.store import Stored
from services.order.understanding import understand

REACHED: Final = prometheus_client.Counter(
    "orderflow_orders_reached_total", "Orders that came to a status, by status", ["status"]
)
for _status in OrderStatus:
    REACHED.labels(_status)  # from 0: of a series that begins at 30 Prometheus sees no increase


class Heard(NamedTuple):
    """One event for one order, and the message it came with (None: from the sweeper)."""

    stored: Stored
    event: Event
    cause: Incoming[Any] | None = None

    @property
    def action(self) -> str:
        """What caused the change, for the audit trail."""
        return self.cause.envelope.type if self.cause else type(self.event).__name__


class OrderHandlers:
    """The handlers, with the times that the shop has set."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing

    def by_message(self) -> dict[type[Message], Handler]:
        return {
            PlaceOrder: self.place,
            CancelOrder: self.hear,
            ChangeOrderStatus: self.hear,
            RefundOrder: self.hear,
            RetryOrder: retry_now,
            RetryRefund: self.hear,
            SettleRefund: self.hear,
            StockReserved: self.hear,
            StockRejected: self.hear,
            StockRestored: self.hear,
            PaymentIntentCreated: self.hear,
            PaymentUpdated: self.hear,
            PaymentSucceeded: self.hear,
            PaymentFailed: self.hear,
            PaymentCanceled: self.hear,
            PaymentRefunded: self.hear,
            PaymentPartiallyRefunded: self.hear,
            RefundFailed: self.hear,
            RefundPossible: self.hear,
        }

    async def place(self, work: Work, messages: list[Incoming[PlaceOrder]]) -> None:
        """A new order; one that exists already has been answered and announced before."""
        placed = {
            m.message.order_id: (begin(m.message, work.now, self.timing.reservation), m)
            for m in messages
        }
        deadline = work.now + self.timing.step
        new = await store.insert_orders(work.db, [order for order, _ in placed.values()], deadline)
        if not new:
            return
        _count(work, (placed[order_id][0].status for order_id in new))
        cancelled_early = await store.take_early_cancellations(work.db, new)
        to_cancel = []
        for order, cause in (placed[order_id] for order_id in placed if order_id in new):
            work.send(reserve_stock(order), cause)
            _announce(work, None, order, PlaceOrder.wire_type, cause)
            if cancellation := cancelled_early.get(order.id):
                stored = Stored(order, Timer(deadline))
                to_cancel.append(Heard(stored, _understand(stored, cancellation, cause), cause))
        if to_cancel:
            await self.settle(work, to_cancel)

    async def hear(self, work: Work, messages: list[Incoming[Any]]) -> None:
        """Whatever an existing order can hear."""
        try:
            stored, unknown = await self._lock(work, {m.message.order_id for m in messages})
        except Exception as error:
            if is_infrastructure(error) or len(messages) > 1:  # the kit finds out whose it is
                raise
            raise InvalidOrder(reason_of(error)) from error
        heard, early = [], []
        for m in messages:
            if found := stored.get(m.message.order_id):
                heard.append(Heard(found, _understand(found, m.message, m), m))
            elif state := unknown.get(m.message.order_id):
                work.park(m, unknown_state(state))
            elif isinstance(m.message, CancelOrder):
                early.append(m.message)
            else:
                work.park(m, f"there is no order {m.message.order_id}")
        if early:
            await store.insert_early_cancellations(work.db, early)
        await self.settle(work, heard)

    async def _lock(
        self, work: Work, order_ids: Collection[UUID]
    ) -> tuple[dict[UUID, Stored], dict[UUID, str]]:
        """Orders that are there, and the states of those that this release cannot know."""
        rows = await store.lock_orders(work.db, order_ids)
        unknown = {
            row["id"]: row["saga_state"] for row in rows if row["saga_state"] not in KNOWN_STATES
        }
        return await self.load(work, [row for row in rows if row["id"] not in unknown]), unknown

    async def load(self, work: Work, rows: Sequence[asyncpg.Record]) -> dict[UUID, Stored]:
        """Locked rows as orders, in states that this release knows. What was edited by SQL since is
        followed up first, so that nothing else is decided on a contradiction."""
        stored = await store.load_orders(work.db, rows)
        edited = [
            Heard(each, event) for each in stored.values() if (event := follow_up(each.order))
        ]
        if edited:
            await self.settle(work, edited)
            again = await store.lock_orders(work.db, {each.stored.order.id for each in edited})
            stored |= await store.load_orders(work.db, again)
        return stored

    async def settle(self, work: Work, heard: Sequence[Heard]) -> None:
        """Advance the orders, save what changed, send what follows."""
        steps = [(each, step) for each in heard if (step := _decide(work, each))]
        changes, unanswered = [], []
        for each, step in steps:
            before, timer_before = each.stored
            timer = self.timing.next_timer(
                before.state, timer_before, step.order, each.event, work.now
            )
            if step.changed or timer != timer_before:
                changes.append(Stored(step.order, timer))
            if timer.rounds > timer_before.rounds and timer.deadline_at is not None:
                unanswered.append(
                    order_waits(step.order, timer.rounds, timer.deadline_at, work.now)
                )
        if changes:
            await store.update_orders(work.db, changes)
        _count(
            work,
            (
                step.order.status
                for each, step in steps
                if step.order.status != each.stored.order.status
            ),
        )
        for each, step in steps:
            _send(work, each, step)
        for told in unanswered:
            work.send(told)


def _understand(stored: Stored, message: Message, cause: Incoming[Any]) -> Event:
    return understand(message, cause.envelope.id, stored.order)


def _decide(work: Work, heard: Heard) -> Step | None:
    try:
        return advance(heard.stored.order, heard.event, work.now)
    except UnexpectedEventError as error:
        if heard.cause is None:
            raise
        work.park(heard.cause, str(error))
        return None


def _count(work: Work, reached: Iterable[OrderStatus]) -> None:
    """After the commit: of a batch that is tried again, only the time that held counts."""
    counted = Counter(reached)

    def add() -> None:
        for status, orders in counted.items():
            REACHED.labels(status).inc(orders)

    if counted:
        work.after_commit(add)


def _send(work: Work, heard: Heard, step: Step) -> None:
    cause, order = heard.cause, step.order
    for message in step.send:
        work.send(message, cause)
    if step.changed:
        _announce(work, heard.stored.order, order, heard.action, cause)
    if step.refused is not None and isinstance(heard.event, Asked):
        refusal = CommandRefused(
            order_id=order.id,
            command=heard.action,
            requested_by=heard.event.by,
            reason=step.refused,
            status=order.status,
        )
        work.send(refusal, cause)


def _announce(
    work: Work, before: Order | None, after: Order, action: str, cause: Incoming[Any] | None
) -> None:
    work.send(order_updated(after), cause)
    work.send(order_audited(before, after, action), cause)
