"""Stripe refuses refunds for good, and staff or banks decide about the money."""

import asyncio
import json
import random
from collections import Counter
from typing import Any, Final

from contracts.message import Message
from contracts.order import RetryRefund, SettleRefund
from services.kit.messages import Outgoing
from services.kit.work import utc_now
from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.records import Raw, produce
from tests.faults.standin import StandIn

ROW = "Refused refunds"

_UNDER_WAY: Final = """
    SELECT id, payment_intent_id FROM orders
     WHERE saga_state IN ('returning_money', 'returning_late') AND payment_intent_id IS NOT NULL
"""
_UNDECIDED: Final = """
    SELECT id, payment_intent_id, status, refunds,
           total - amount_refunded - amount_lost - coalesce(amount_settled, 0) AS money
      FROM orders WHERE refused_refund IS NOT NULL
"""
_QUIET: Final = 4
"""Looks in a row that find nothing to decide: what was refused last has arrived by then."""


@fault(name="refunds-refused", row=ROW)
async def refunds_refused(beaten: Beaten, rng: random.Random) -> str:
    """Refunds are refused for good, and disputes open while orders are cancelled; then each is
    settled outside Stripe, tried again, or taken back by the bank."""
    rule: dict[str, Any] = {
        "kind": "not_refundable",
        "operation": "create_refund",
        "rate": rng.uniform(0.4, 0.9),
        "count": rng.randint(5, 15),
    }
    # Late, so that disputes open before the refund is made.
    late = {"kind": "delay", "operation": "create_refund", "count": 1000, "delay_ms": 1500}
    standin = StandIn(beaten)
    disputed: dict[Any, str] = {}
    await beaten.work_in_hand()
    await standin.strike([rule, late])
    try:
        for _ in range(100):
            for row in await beaten.rows("order", _UNDER_WAY):
                if len(disputed) < 10 and row["id"] not in disputed:
                    disputed[row["id"]] = await _dispute(beaten, row["payment_intent_id"])
            if "not_refundable" not in await standin.left():
                break
            await asyncio.sleep(0.1)
        left = (await standin.left()).get("not_refundable", 0)
    finally:
        await standin.clear()
    opened = len(disputed)
    refused = rule["count"] - left
    decided = await _decide_all(beaten, rng, disputed)
    if not refused or not decided:
        raise NotStruck(f"{refused} refunds were refused, {opened} disputed: {dict(decided)}")
    ways = ", ".join(f"{way} {count}" for way, count in sorted(decided.items()))
    return f"{refused} refunds refused for good, {opened} charges disputed; then {ways}"


async def _dispute(beaten: Beaten, intent_id: str) -> str:
    answer = await beaten.client.post(
        f"{beaten.stack.stripe}/_control/payment_intents/{intent_id}/dispute", json={}
    )
    return str(answer.raise_for_status().json()["id"])


async def _ends(beaten: Beaten, dispute_id: str, status: str) -> None:
    answer = await beaten.client.post(
        f"{beaten.stack.stripe}/_control/disputes/{dispute_id}", json={"status": status}
    )
    answer.raise_for_status()


async def _decide_all(beaten: Beaten, rng: random.Random, disputed: dict[Any, str]) -> Counter[str]:
    """Decide until nothing is left to decide; how often in which way. The load goes on, but what
    it refunds now is refused by nothing."""
    decided = Counter[str]()
    quiet = 0

    async def ended() -> int:
        nonlocal quiet
        rows = await beaten.rows("order", _UNDECIDED)
        for row in rows:
            decided[await _decide(beaten, rng, row, disputed)] += 1
        going = await beaten.rows(
            "order",
            f"SELECT FROM ({_UNDER_WAY}) AS under_way WHERE id = ANY($1)",
            list(disputed),
        )
        quiet = 0 if rows or going else quiet + 1
        return quiet >= _QUIET

    await beaten.until(
        ended, within=60, otherwise="refused refunds stay undecided", error=Breach, every=1.0
    )
    for dispute_id in disputed.values():  # opened when the refund had been made
        await _ends(beaten, dispute_id, "won")
    return decided


async def _decide(beaten: Beaten, rng: random.Random, row: Any, disputed: dict[Any, str]) -> str:
    dispute_id = disputed.pop(row["id"], None)
    if dispute_id is not None:
        way = rng.choice(["lost", "won", "settled"])
        await _ends(beaten, dispute_id, "lost" if way == "lost" else "won")
        if way != "settled":
            return f"dispute {way}"
    elif rng.random() < 0.5:
        await _send(
            beaten, RetryRefund(order_id=row["id"], requested_by="staff", reason="tried again")
        )
        return "tried again"
    refused = [it for it in json.loads(row["refunds"]) if it["outcome"] == "refused"]
    rest = any(it["rest"] for it in refused)
    amount = row["money"] if rest else sum(it["amount"] for it in refused)
    await _send(
        beaten,
        SettleRefund(
            order_id=row["id"],
            amount=min(amount, row["money"]),
            requested_by="staff",
            reason="bank transfer",
        ),
    )
    return "settled outside"


async def _send(beaten: Beaten, command: Message) -> None:
    """As ops does."""
    sent = Outgoing.of(command, source="ops", time=utc_now().isoformat())
    headers = tuple(sent.kafka_headers())
    await produce(beaten, [Raw(sent.topic, sent.key.encode(), headers, sent.payload.encode())])
