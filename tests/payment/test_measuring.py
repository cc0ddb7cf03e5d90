"""What the payment service says of itself, from its own database."""

import asyncio
import json
from typing import Any
from uuid import uuid4

from prometheus_client import REGISTRY

from services.payment import turns
from services.payment.measuring import measure
from services.payment.model import CallKind
from services.payment.reconciling import SOURCE
from tests.payment.bench import Bench, Unpaid, intent_event, request
from tests.payment.test_handlers import opened, paid


async def measured(bench: Bench, name: str, **labels: str) -> float:
    async with bench.transaction() as work:
        await measure(work)
    value = REGISTRY.get_sample_value(f"orderflow_{name}", labels)
    assert value is not None
    return value


async def ago(bench: Bench, table: str, column: str, minutes: int) -> None:
    """Let everything in a table have happened so long ago."""
    await bench.fetch(f"UPDATE {table} SET {column} = now() - $1 * interval '1 minute'", minutes)


async def test_calls_that_wait_are_counted_by_kind_and_the_oldest_tells_its_age(
    bench: Bench,
) -> None:
    async def waiting(kind: CallKind = CallKind.CREATE_INTENT) -> float:
        return await measured(bench, "stripe_calls_waiting", kind=kind)

    async def oldest(kind: CallKind = CallKind.CREATE_INTENT) -> float:
        return await measured(bench, "stripe_calls_oldest_seconds", kind=kind)

    assert await waiting() == 0
    assert await oldest() == 0
    await bench.hear(*(request(uuid4()) for _ in range(3)))
    await bench.fetch(
        """
        UPDATE stripe_calls SET created_at = now() - interval '5 minutes'
         WHERE order_id = (SELECT min(order_id::text)::uuid FROM stripe_calls)
        """
    )
    assert await waiting() == 3
    assert 300 <= await oldest() < 360
    assert await waiting(CallKind.CANCEL_INTENT) == 0
    assert await oldest(CallKind.CANCEL_INTENT) == 0
    await bench.claim()  # one that is being made has not been answered yet
    assert await waiting() == 3
    await bench.call(Unpaid())
    assert await waiting() == 0
    assert await oldest() == 0


async def test_a_quiet_shop_is_not_a_silent_stripe(bench: Bench) -> None:
    await paid(bench)
    await ago(bench, "stripe_events", "received_at", 90)
    await ago(bench, "payments", "created_at", 90)
    assert await measured(bench, "webhook_silence_seconds") == 0


async def test_silence_counts_from_when_somebody_could_pay(bench: Bench) -> None:
    order_id, intent = await opened(bench)
    await ago(bench, "payments", "created_at", 40)
    assert 2400 <= await measured(bench, "webhook_silence_seconds") < 2460
    await bench.hear(intent_event("processing", intent, order_id), source="gateway")
    assert await measured(bench, "webhook_silence_seconds") == 0
    await ago(bench, "stripe_events", "received_at", 10)
    assert 600 <= await measured(bench, "webhook_silence_seconds") < 660


async def test_what_reconciliation_found_does_not_break_the_silence(bench: Bench) -> None:
    order_id, intent = await opened(bench)
    await ago(bench, "payments", "created_at", 40)
    await bench.hear(intent_event("processing", intent, order_id), source=SOURCE)
    assert await measured(bench, "webhook_silence_seconds") >= 2400


async def test_while_webhooks_come_no_payment_is_looked_at(bench: Bench) -> None:
    """The look at payments walks over all of two hours where nobody is about to pay."""
    order_id, intent = await opened(bench)
    await bench.hear(intent_event("processing", intent, order_id), source="gateway")
    statements: list[str] = []
    async with bench.transaction() as work:
        with work.db.query_logger(lambda record: statements.append(record.query)):
            await turns.seconds_of_silence(work.db)
            await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn
        plan = await work.db.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {statements[0]}")
    assert [node for node in _nodes(plan[0][0]) if node.get("Relation Name") == "payments"]
    for node in _nodes(plan[0][0]):
        if node.get("Relation Name") == "payments":
            assert node["Actual Loops"] == 0


def _nodes(plan: Any) -> list[dict[str, Any]]:
    def walk(node: dict[str, Any]) -> list[dict[str, Any]]:
        return [node, *(found for inner in node.get("Plans", ()) for found in walk(inner))]

    return walk(json.loads(plan)[0]["Plan"])
