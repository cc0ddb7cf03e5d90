"""How many orders wait for a decision of staff, because Stripe refused a refund for good."""

from typing import Final

from prometheus_client import Gauge

from services.kit.telemetry import log
from services.kit.work import Work
from services.order import store

REFUSED_REFUNDS: Final = Gauge(
    "orderflow_orders_undecided",
    "Orders with a refund that Stripe refused for good: staff have to decide",
)


async def count_undecided(work: Work) -> None:
    """Every replica counts the same: take the greatest of them, not the sum."""
    undecided = await store.count_refused_refunds(work.db)
    REFUSED_REFUNDS.set(undecided)
    if undecided:
        log.warning("refused refunds need a decision", orders=undecided)
