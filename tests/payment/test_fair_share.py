"""Which calls are claimed when many are due: by kind, repeats apart, at a cost that stays small."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any, cast

import pytest

from services.kit.db import Connection
from services.payment import call_queue
from services.payment.fair_share import WEIGHTS, FairShare
from services.payment.model import CallKind
from tests.payment.bench import Bench

LEASE = timedelta(seconds=20)
SLOTS = 32


async def due(
    bench: Bench, kind: CallKind, count: int, *, attempts: int = 0, minutes: float = 0
) -> None:
    """Put calls in the queue that have been due for so long."""
    await bench.fetch(
        """
        WITH paid AS (
            INSERT INTO payments (order_id, customer_id, amount, currency, status, version,
                                  payment_intent_id, created_at, updated_at)
            SELECT id, 'anna', 12000, 'zar', 'open', 1, 'pi_' || id, now(), now()
              FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, $1)) AS new
            RETURNING order_id
        )
        INSERT INTO stripe_calls (order_id, kind, parameters, idempotency_key, attempts,
                                  created_at, next_attempt_at)
        SELECT order_id, $2, '{}', order_id::text, $3,
               now() - $4 * interval '1 minute', now() - $4 * interval '1 minute'
          FROM paid
        """,
        count,
        kind,
        attempts,
        minutes,
    )


async def claimed(bench: Bench, fair_share: FairShare, limit: int) -> Counter[str]:
    calls = await call_queue.claim_calls(bench.pool, limit, LEASE, fair_share.shares())
    fair_share.claimed(calls)
    return Counter(call.queue_class for call in calls)


async def test_an_intent_does_not_wait_behind_a_mass_of_cancellations(bench: Bench) -> None:
    await due(bench, CallKind.CANCEL_INTENT, 2_000, minutes=10)
    await due(bench, CallKind.CREATE_INTENT, 5)
    seen = await claimed(bench, FairShare(SLOTS), 8)
    assert seen == {"create_intent": 5, "cancel_intent": 3}


async def test_cancellations_go_on_under_a_mass_of_intents(bench: Bench) -> None:
    """A slot at a time, as under load: each claim goes by what is in flight."""
    await due(bench, CallKind.CREATE_INTENT, 500, minutes=10)
    await due(bench, CallKind.CREATE_REFUND, 500)
    await due(bench, CallKind.CANCEL_INTENT, 500)
    fair_share, seen = FairShare(SLOTS), Counter[str]()
    for _ in range(28):
        seen += await claimed(bench, fair_share, 1)
    assert seen == {"create_intent": 16, "create_refund": 8, "cancel_intent": 4}


async def test_one_kind_alone_gets_every_slot(bench: Bench) -> None:
    await due(bench, CallKind.CANCEL_INTENT, 100)
    assert await claimed(bench, FairShare(SLOTS), SLOTS) == {"cancel_intent": SLOTS}


async def test_repeats_leave_slots_to_new_calls(bench: Bench) -> None:
    for kind in CallKind:
        await due(bench, kind, 100, attempts=3, minutes=10)
    fair_share = FairShare(SLOTS)
    assert (await claimed(bench, fair_share, SLOTS)).total() == 24
    assert (await claimed(bench, fair_share, SLOTS)).total() == 0
    await due(bench, CallKind.CREATE_REFUND, 3)
    assert await claimed(bench, fair_share, 8) == {"create_refund": 3}


async def test_a_single_slot_still_repeats(bench: Bench) -> None:
    await due(bench, CallKind.CREATE_INTENT, 1, attempts=3)
    assert (await claimed(bench, FairShare(1), 1)).total() == 1


async def test_within_a_class_the_longest_due_comes_first(bench: Bench) -> None:
    await due(bench, CallKind.CREATE_INTENT, 3, minutes=1)
    await due(bench, CallKind.CREATE_INTENT, 3, minutes=9)
    await due(bench, CallKind.CREATE_INTENT, 3, minutes=5)
    calls = await call_queue.claim_calls(bench.pool, 3, LEASE, FairShare(SLOTS).shares())
    ages = await bench.fetch(
        "SELECT round(extract(epoch FROM now() - created_at) / 60) AS age FROM stripe_calls"
        " WHERE order_id = ANY($1)",
        [call.order_id for call in calls],
    )
    assert [row["age"] for row in ages] == [9, 9, 9]


async def test_a_call_that_ended_frees_its_share(bench: Bench) -> None:
    await due(bench, CallKind.CREATE_INTENT, 10, attempts=1)
    fair_share = FairShare(4)
    calls = await call_queue.claim_calls(bench.pool, 4, LEASE, fair_share.shares())
    fair_share.claimed(calls)
    assert fair_share.shares().repeats == 0
    fair_share.ended(calls[0])
    assert fair_share.shares().repeats == 1


async def test_the_class_of_a_call_is_the_one_it_was_claimed_from(bench: Bench) -> None:
    """The database derives it before the claim, the model after it."""
    for attempts in (0, 1):
        for kind in CallKind:
            await due(bench, kind, 1, attempts=attempts)
    before = {
        row[0]: row[1]
        for row in await bench.fetch("SELECT order_id, queue_class FROM stripe_calls")
    }
    calls = await bench.claim()
    assert {call.order_id: call.queue_class for call in calls} == before
    assert set(before.values()) == set(WEIGHTS)


@pytest.mark.parametrize("statistics", ["of the backlog", "of an empty queue"])
async def test_a_claim_costs_the_same_however_many_calls_wait(
    bench: Bench, statistics: str
) -> None:
    """By its plan: each class is read from its own place in the index, as many rows as asked for.
    One class has no call that is due, so nothing else would end a look through the others."""
    if statistics == "of an empty queue":
        await bench.fetch("ANALYZE stripe_calls")
    for kind in set(CallKind) - {CallKind.CREATE_REFUND}:
        for attempts in (0, 2):
            await due(bench, kind, 3_000, attempts=attempts, minutes=5)
    if statistics == "of the backlog":
        await bench.fetch("ANALYZE stripe_calls")
    plan = await _plan_of_a_claim(bench, limit=4)
    scans = [node for node in _nodes(plan) if "Index Name" in node]
    assert {node["Index Name"] for node in scans} == {
        "stripe_calls_due_by_class",
        "stripe_calls_pkey",
        "payments_pkey",
    }
    assert not [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan"]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in scans)
    assert read <= len(WEIGHTS) * 4 + 4 + 4
    assert not [node for node in scans if node.get("Rows Removed by Filter")]


class Explains:
    """A connection that explains what it is asked, and changes nothing."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.plan: Any = None

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self._bench.pool.acquire() as db:
            changes = db.transaction()
            await changes.start()
            (row,) = await db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
            await changes.rollback()
        self.plan = json.loads(row[0])[0]["Plan"]
        return []


async def _plan_of_a_claim(bench: Bench, limit: int) -> Any:
    explains = Explains(bench)
    shares = FairShare(SLOTS).shares()
    await call_queue.claim_calls(cast("Connection", explains), limit, LEASE, shares)
    return explains.plan


def _nodes(plan: Any) -> list[dict[str, Any]]:
    return [plan, *(found for inner in plan.get("Plans", ()) for found in _nodes(inner))]
