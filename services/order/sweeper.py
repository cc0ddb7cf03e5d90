"""Gives orders whose deadline has passed the event that says so.

An order that cannot be advanced is isolated: it is flagged with the reason, announced to ops and
retried slowly, and all others keep their deadlines. It goes on by itself once its row is valid.
"""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from prometheus_client import Gauge

from services.kit.crash import crash_point
from services.kit.isolation import isolate
from services.kit.telemetry import log
from services.kit.work import Work
from services.order import store, stuck_store
from services.order.announcements import order_stuck, order_waits
from services.order.dead_letters import unknown_state
from services.order.deadlines import (
    FIRST_RETRY,
    LAST_RETRY,
    LEFT_TO_NEWER,
    Timer,
    Timing,
    overdue_event,
)
from services.order.handlers import Heard, OrderHandlers
from services.order.order import KNOWN_STATES, Order
from services.order.store import Stored

_LIMIT = 500
_TASK = "sweep_deadlines"

STUCK = Gauge("orderflow_orders_stuck", "Orders whose next step brought no answer in many rounds")
FAILING = Gauge("orderflow_orders_failing", "Orders that cannot be advanced: see stuck_reason")


class Contradiction(Exception):  # noqa: N818  # says what is wrong with the order
    """Status and saga state of an order contradict each other, and a person must decide."""

    def __init__(self, order: Order) -> None:
        super().__init__(
            f"the status {order.status.value!r} does not fit the saga state {order.state.value!r}"
        )


async def sweep_deadlines(work: Work, handlers: OrderHandlers) -> None:
    """One pass over at most 500 overdue orders, the longest overdue first."""
    due = await store.lock_due_orders(work.db, work.now, LEFT_TO_NEWER, _LIMIT)
    if not due:
        return
    known = [order.id for order in due if order.saga_state in KNOWN_STATES]
    stuck = {
        order.id: unknown_state(order.saga_state)
        for order in due
        if order.saga_state not in KNOWN_STATES
    }
    for culprit in await isolate(work, _TASK, known, partial(_advance, work, handlers)):
        stuck[culprit.item] = culprit.reason
    if stuck:
        await _set_aside(work, stuck)
    crash_point("mid-sweep")
    log.info("deadlines passed", orders=len(due))


async def _advance(work: Work, handlers: OrderHandlers, order_ids: Sequence[UUID]) -> None:
    rows = await store.lock_orders(work.db, order_ids)
    stored = await handlers.load(work, rows)
    heard, not_due = [], []
    for each in stored.values():
        if each.order.contradicts:
            raise Contradiction(each.order)
        if each.timer.deadline_at is None or each.timer.deadline_at > work.now:
            continue  # an edit by SQL has just been followed up
        if event := overdue_event(each.order, work.now):
            heard.append(Heard(each, event))
        else:
            not_due.append(each)
    await handlers.settle(work, heard)
    if not_due:
        await _correct_deadlines(work, handlers.timing, not_due)


async def _correct_deadlines(work: Work, timing: Timing, orders: Sequence[Stored]) -> None:
    """Nothing is due: the deadline was set by SQL, or the order was set aside and is valid now."""
    corrected = [
        Stored(each.order, Timer(timing.deadline(each.order, work.now))) for each in orders
    ]
    await store.update_orders(work.db, corrected)
    for before, after in zip(orders, corrected, strict=True):
        if before.timer.stuck_reason is not None:
            next_event = after.timer.deadline_at or work.now
            work.send(order_waits(after.order, 0, next_event, work.now))


async def _set_aside(work: Work, reasons: dict[UUID, str]) -> None:
    """Flag each order by itself: not even that may fail for all because it fails for one."""

    async def flag(order_ids: Sequence[UUID]) -> None:
        flagged = await stuck_store.flag_stuck(
            work.db, {id_: reasons[id_] for id_ in order_ids}, work.now, FIRST_RETRY, LAST_RETRY
        )
        for order in flagged:
            work.send(order_stuck(order, reasons[order.id], work.now))

    unflagged = await isolate(work, "flag_stuck", list(reasons), flag)
    for order_id, reason in list(reasons.items())[:5]:
        log.error("order cannot be advanced", order_id=str(order_id), reason=reason)
    for culprit in unflagged[:5]:
        log.error("order not flagged", order_id=str(culprit.item), reason=culprit.reason)


async def retry_stuck(work: Work) -> None:
    """After a start: a new release may be what stuck orders wait for."""
    if orders := await stuck_store.make_stuck_due(work.db, work.now):
        log.info("stuck orders are tried again", orders=orders)


async def count_stuck(work: Work) -> None:
    stuck = await stuck_store.count_stuck(work.db)
    STUCK.set(stuck.unanswered)
    FAILING.set(stuck.failing)
    if any(stuck):
        log.warning("orders are stuck", unanswered=stuck.unanswered, failing=stuck.failing)
