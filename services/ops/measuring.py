"""What ops sees of the whole system, as metrics: also of services that do not run.

Every replica tells the same, but of the audit only when its own proof was: take the greatest.
"""

import asyncio
import time
from datetime import timedelta
from typing import Final

from prometheus_client import Gauge

from contracts.topics import DEAD_LETTERS
from services.kit.lag import group_lags
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work, utc_now
from services.ops.rules import OPEN_STATES, WAITS_FOR
from services.ops.store import letters, orders, stock
from services.ops.verifying import Verdict, verify

GROUP_LAG: Final = Gauge(
    "orderflow_group_lag_seconds",
    "Age of the oldest record that a service has not acknowledged, as the broker says",
    ["group", "topic"],
)
DEAD_LETTERS_OPEN: Final = Gauge(
    "orderflow_dead_letters_open", "Parked messages and those behind them, as announced", ["owner"]
)
ORDERS_OPEN: Final = Gauge(
    "orderflow_orders_open", "Orders that are not at an end, by saga state", ["state"]
)
SAGAS_WAITING: Final = Gauge(
    "orderflow_sagas_waiting",
    "Orders that have waited for an answer for longer than STUCK_AFTER_SECONDS",
    ["state"],
)
PRODUCTS_LOW: Final = Gauge(
    "orderflow_products_low", "Products that are low, as `ops stock low` lists them"
)
AUDIT_FINDINGS: Final = Gauge(
    "orderflow_audit_findings", "What the last proof of the audit found wrong", ["kind"]
)
AUDIT_VERIFIED: Final = Gauge(
    "orderflow_audit_verified_timestamp_seconds", "When the audit was last proved, or tried to"
)

_LAG_EVERY: Final = 30.0
_UNTIL_CAUGHT_UP: Final = 900.0
"""Seconds from a start to the first proof: until then the ends of histories may be on their way."""
_SETTLED: Final = timedelta(minutes=10)


async def measure(work: Work, stuck_after: timedelta, low_at: int) -> None:
    """Count what is parked, orders by state, and products that are low: three statements."""
    open_letters = await letters.count_open(work.db)
    for owner in DEAD_LETTERS:
        DEAD_LETTERS_OPEN.labels(owner).set(open_letters.get(owner, 0))
    counted = await orders.count_states(work.db, OPEN_STATES, work.now - stuck_after)
    for state in OPEN_STATES:
        count = counted.get(state, orders.Counted())
        ORDERS_OPEN.labels(state).set(count.orders)
        if state in WAITS_FOR:
            SAGAS_WAITING.labels(state).set(count.long)
    PRODUCTS_LOW.set(await stock.count_low(work.db, low_at))


async def measure_lags(bootstrap_servers: str) -> None:
    """Ask the broker how old the oldest record is that each service has not acknowledged.

    Raises:
        KafkaError: the broker cannot be reached.
    """
    for lag in await group_lags(bootstrap_servers, DEAD_LETTERS):
        GROUP_LAG.labels(lag.group, lag.topic).set(lag.seconds)


async def keep_measuring_lags(service: Service) -> None:
    while True:
        await measure_lags(service.settings.kafka_bootstrap_servers)
        await asyncio.sleep(_LAG_EVERY)


def tell(verdict: Verdict) -> None:
    AUDIT_FINDINGS.labels("broken").set(len(verdict.broken))
    AUDIT_FINDINGS.labels("gaps").set(len(verdict.gaps))
    AUDIT_FINDINGS.labels("differences").set(len(verdict.differences))
    AUDIT_VERIFIED.set(time.time())


async def keep_verifying(service: Service, every: float) -> None:
    """Prove the audit regularly: the proof is of use only if somebody makes it."""
    await asyncio.sleep(min(_UNTIL_CAUGHT_UP, every))
    while True:
        verdict = await verify(service.pool, utc_now() - _SETTLED)
        tell(verdict)
        if not verdict.right:
            log.error("the audit is not whole", broken=len(verdict.broken), gaps=len(verdict.gaps))
        await asyncio.sleep(every)
