"""Feeds orders whose deadline has passed the event that says so."""

from prometheus_client import Gauge

from services.kit.crash import crash_point
from services.kit.telemetry import log
from services.kit.work import Work
from services.order import store
from services.order.deadlines import overdue_event
from services.order.handlers import Heard, OrderHandlers

_LIMIT = 500

STUCK = Gauge("orderflow_orders_stuck", "Orders whose next step brought no answer in many rounds")


async def sweep_deadlines(work: Work, handlers: OrderHandlers) -> None:
    """One pass over at most 500 overdue orders, the longest overdue first."""
    rows = await store.lock_due_orders(work.db, work.now, _LIMIT)
    if not rows:
        return
    stored = await store.load_orders(work.db, rows)
    await handlers.settle(
        work, [Heard(each, overdue_event(each.order, work.now)) for each in stored.values()]
    )
    crash_point("mid-sweep")
    log.info("deadlines passed", orders=len(rows))


async def count_stuck(work: Work) -> None:
    stuck = await store.count_stuck(work.db)
    STUCK.set(stuck)
    if stuck:
        log.warning("orders are stuck", orders=stuck)
