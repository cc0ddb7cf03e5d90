"""Invariants light: what ops can prove from what it has consumed, of the shop as a whole.

No other service's database is read, so this can run at any time; what holds between the databases
themselves, and with Stripe, is `make verify`. A constant number of statements but for the audit,
which is read in pages.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from contracts.topics import DEAD_LETTERS
from services.kit.db import Pool
from services.kit.errors import INFRASTRUCTURE
from services.kit.lag import group_lags
from services.ops.rules import WAITS_FOR
from services.ops.store import checks, letters, orders, sagas
from services.ops.store.checks import Judged
from services.ops.verifying import verify

NAMED: Final = 10
"""Findings of a check that are told; `wrong` counts all of them."""
_LAG_TIMEOUT: Final = 30.0


Judge = Callable[[Pool, datetime, int], Awaitable[Judged]]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it looked at, what was wrong, and the first findings in words."""

    name: str
    looked_at: int
    of_what: str
    wrong: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Patience:
    """From when on something counts as wrong."""

    settled: timedelta
    """Orders that changed since are left out: their audits may be on their way."""
    waiting: timedelta
    lag_seconds: float


async def check_all(
    pool: Pool, bootstrap_servers: str, now: datetime, patience: Patience
) -> list[Check]:
    """Each check on its own: one that fails keeps none from being made."""
    settled_before = now - patience.settled
    return [
        await check_audit(pool, settled_before),
        await check_orders("money", checks.judge_money, pool, settled_before),
        await check_orders("stock", checks.judge_stock, pool, settled_before),
        await check_waiting(pool, now, patience.waiting),
        await check_failing(pool, now),
        await check_dead_letters(pool),
        await check_lag(bootstrap_servers, patience.lag_seconds),
    ]


async def check_orders(name: str, judge: Judge, pool: Pool, settled_before: datetime) -> Check:
    """Money or stock of every order at rest is where its state says."""
    of_what = "orders at rest"
    try:
        judged = await judge(pool, settled_before, NAMED)
    except asyncpg.DataError as error:  # only somebody who altered it can have written that
        return Check(name, 0, of_what, 1, [f"a record of the audit cannot be read: {error}"])
    findings = [f"order {each}" for each in judged.first]
    return Check(name, judged.looked_at, of_what, judged.wrong, findings)


async def check_audit(pool: Pool, settled_before: datetime) -> Check:
    """No record was altered or is missing, no version either, and each audit ends as published."""
    verdict = await verify(pool, settled_before)
    broken = [f"{b.topic}/{b.partition} at {b.position}: {b.what}" for b in verdict.broken]
    found = [*broken, *verdict.gaps, *verdict.differences]
    return Check("audit", verdict.records, "records", len(found), found[:NAMED])


async def check_waiting(pool: Pool, now: datetime, longest: timedelta) -> Check:
    """Nobody waits for another service's answer for too long."""
    async with pool.acquire() as db:
        counted = await orders.count_states(db, list(WAITS_FOR), now - longest)
    rows = await sagas.list_stuck(pool, list(WAITS_FOR), now - longest, NAMED)
    findings = [
        f"order {row['order_id']} is {row['saga_state']} since "
        f"{row['saga_since']:%Y-%m-%d %H:%M:%S}, after {row['rounds']} rounds"
        for row in rows
    ]
    waiting = sum(each.orders for each in counted.values())
    long = sum(each.long for each in counted.values())
    return Check("waiting", waiting, "orders that wait", long, findings)


async def check_failing(pool: Pool, now: datetime) -> Check:
    """Every order can be advanced."""
    rows = await sagas.list_stuck(pool, [], now, NAMED, failing=True)
    findings = [
        f"order {row['order_id']} cannot be advanced: {row['stuck_reason']}" for row in rows
    ]
    return Check("failing", 1, "order service", await sagas.count_failing(pool), findings)


async def check_dead_letters(pool: Pool) -> Check:
    """No message is parked, and none waits behind one."""
    async with pool.acquire() as db:
        counted = await letters.count_open(db)
    rows = await letters.list_letters(pool, None, False, ("", 0), NAMED)
    findings = [
        f"{row['service']}/{row['parked_id']} of order {row['correlation_id']}: {row['reason']}"
        for row in rows
    ]
    found = sum(counted.values())
    return Check("dead letters", len(DEAD_LETTERS), "services", found, findings)


async def check_lag(bootstrap_servers: str, most_seconds: float) -> Check:
    """Every service keeps up; of one that does not, the other checks know only the past."""
    name, of_what = "lag", "topics of services"
    try:
        async with asyncio.timeout(_LAG_TIMEOUT):
            lags = await group_lags(bootstrap_servers, DEAD_LETTERS)
    except INFRASTRUCTURE as error:
        return Check(name, 0, of_what, 1, [f"the broker does not say: {error}"])
    behind = sorted(
        (lag for lag in lags if lag.seconds > most_seconds), key=lambda lag: -lag.seconds
    )
    findings = [
        f"{lag.group} is {lag.records} records and {lag.seconds:.0f} s behind on {lag.topic}"
        for lag in behind
    ]
    return Check(name, len(lags), of_what, len(behind), findings[:NAMED])
