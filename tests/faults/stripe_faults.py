"""Stripe answers late, wrongly, twice or not at all."""

import asyncio
import random
from typing import Any, Final

from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.standin import StandIn

ROW = "Stripe"

# What the payment service asks. What customers ask is left alone: they are not under test.
OPERATIONS: Final = (
    "create_payment_intent",
    "cancel_payment_intent",
    "get_payment_intent",
    "create_refund",
)
KINDS: Final = (
    "delay",
    "rate_limit",
    "error_before",
    "error_after",
    "lost_answer",
    "stored_error",
)


@fault(name="stripe-errors", row=ROW)
async def stripe_errors(beaten: Beaten, rng: random.Random) -> str:
    """Delays, 429, 500 before and after the effect, answers lost after it, stored 500s."""
    rules = [
        {
            "kind": kind,
            "operation": operation,
            "rate": rng.uniform(0.3, 1.0),
            "count": rng.randint(2, 12),
            **({"delay_ms": rng.uniform(500, 12_000)} if kind == "delay" else {}),
        }
        for kind in rng.sample(KINDS, k=2)
        for operation in rng.sample(OPERATIONS, k=3)
    ]
    waiting = await beaten.work_in_hand()
    struck = await StandIn(beaten).hold(rules, 10)
    return f"Stripe: {struck}, with {waiting} orders in hand"


@fault(name="stripe-forgets-keys", row=ROW, soak_only=True)
async def stripe_forgets_keys(beaten: Beaten, rng: random.Random) -> str:
    """A call has its effect and its caller dies; when another repeats it, its key is older than
    Stripe promises to remember, and forgotten. That age is 10 s here: only then is it forgotten.
    """
    standin = StandIn(beaten)
    old = {"STRIPE_KEY_LIFETIME_SECONDS": "10"}
    try:
        await beaten.stop("payment")
        await beaten.start("payment", env=old | {"CRASH_AT": "after-stripe-call"}, wait=False)
        died = await beaten.death("payment", within=30)
        owed = await beaten.rows(
            "payment", "SELECT order_id FROM stripe_calls WHERE lease_token IS NOT NULL"
        )
        await _all_keys_old(beaten)
        forgotten = (await standin.do("idempotency_keys/forget"))["forgotten"]
        await beaten.start("payment", env=old)
        await _repeated(beaten, [row["order_id"] for row in owed])
    finally:
        if beaten.pid("payment") is not None:
            await beaten.stop("payment")
        await beaten.revive("payment")
    if not (owed and forgotten):
        raise NotStruck(f"{len(owed)} calls were under way, {forgotten} keys forgotten")
    return f"payment {died} with {len(owed)} calls under way, {forgotten} keys were forgotten"


async def _all_keys_old(beaten: Beaten) -> None:
    async def old() -> int:
        return not await beaten.rows(
            "payment",
            "SELECT 1 FROM stripe_calls"
            " WHERE tries > 0 AND now() - key_made_at <= interval '10 seconds'",
        )

    await beaten.until(old, within=20, otherwise="keys stay young", every=0.5)


async def _repeated(beaten: Beaten, orders: list[Any]) -> None:
    async def done() -> int:
        left = await beaten.rows(
            "payment",
            "SELECT 1 FROM stripe_calls WHERE order_id = ANY($1) AND lease_token IS NOT NULL"
            " AND tries <= 1",
            orders,
        )
        return not left

    await beaten.until(
        done, within=60, otherwise="a call was never repeated", error=Breach, every=0.5
    )


@fault(name="stripe-kill", row=ROW)
async def stripe_kill(beaten: Beaten, rng: random.Random) -> str:
    """Stripe is away: every call is refused, no webhook comes."""
    away = rng.uniform(0.5, 6.0)
    waiting = await beaten.work_in_hand()
    try:
        died = await beaten.kill("stripe")
        await asyncio.sleep(away)
    finally:
        await beaten.revive("stripe")
    return f"{died} with {waiting} orders in hand, and was away for {away:.1f} s"
