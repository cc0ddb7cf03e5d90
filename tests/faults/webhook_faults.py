"""Webhooks come as they like: early, late, twice, in any order, never, or from somebody else."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
from stripe import WebhookSignature

from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.network import DOWN
from tests.faults.standin import StandIn

ROW = "Webhooks"


@fault(name="webhooks-disordered", row=ROW)
async def webhooks_disordered(beaten: Beaten, rng: random.Random) -> str:
    """Twice, and in any order."""
    rules = [
        {"kind": "webhook_doubled", "rate": 0.5, "count": rng.randint(10, 60)},
        {
            "kind": "webhook_shuffled",
            "rate": 0.7,
            "count": rng.randint(10, 60),
            "delay_ms": rng.uniform(1_000, 6_000),
        },
    ]
    struck = await StandIn(beaten).hold(rules, 15)
    return f"webhooks: {struck}"


@fault(name="webhooks-dropped", row=ROW)
async def webhooks_dropped(beaten: Beaten, rng: random.Random) -> str:
    """They never come: only Stripe's list of events tells of them."""
    rules = [{"kind": "webhook_dropped", "rate": 0.5, "count": rng.randint(5, 30)}]
    struck = await StandIn(beaten).hold(rules, 15)
    return f"webhooks: {struck}"


@fault(name="webhooks-held", row=ROW)
async def webhooks_held(beaten: Beaten, rng: random.Random) -> str:
    """None comes for a while, then all at once."""
    seconds = rng.uniform(3.0, 8.0)
    standin = StandIn(beaten)
    await beaten.work_in_hand()
    try:
        await standin.strike([{"kind": "webhook_held"}])
        await asyncio.sleep(seconds)
    finally:
        released = (await standin.do("webhooks/release"))["released"]
    if not released:
        raise NotStruck("there was no webhook to hold")
    return f"{released} webhooks were held for {seconds:.1f} s and came at once"


@fault(name="webhooks-first", row=ROW)
async def webhooks_first(beaten: Beaten, rng: random.Random) -> str:
    """The webhook of what a call did comes before the call's answer."""
    delay, seconds = rng.uniform(1.0, 3.0), rng.uniform(4.0, 8.0)
    standin = StandIn(beaten)
    await beaten.work_in_hand()
    before = await standin.webhooks()
    try:
        await beaten.network.slow("payment-stripe", delay, directions=(DOWN,))
        await asyncio.sleep(seconds)
        after = await standin.webhooks()
        calls = await beaten.rows(
            "payment", "SELECT 1 FROM stripe_calls WHERE lease_token IS NOT NULL"
        )
    finally:
        await beaten.network.heal("payment-stripe")
    overtook = after["delivered"] - before["delivered"]
    if not (overtook and calls):
        raise NotStruck(f"{overtook} webhooks came while {len(calls)} calls waited for answers")
    return (
        f"answers of Stripe took {delay:.1f} s for {seconds:.1f} s: {overtook} webhooks came "
        f"meanwhile, {len(calls)} calls waited at the end"
    )


@fault(name="webhooks-forged", row=ROW)
async def webhooks_forged(beaten: Beaten, rng: random.Random) -> str:
    """Somebody says that an unpaid order is paid: without the secret, with an old or a future
    signature, with one of another body."""
    found = await beaten.rows(
        "payment",
        """
        SELECT order_id, payment_intent_id, amount, currency FROM payments
         WHERE payment_intent_id IS NOT NULL AND amount_received = 0
         ORDER BY updated_at DESC LIMIT 20
        """,
    )
    if not found:
        raise NotStruck("there was no unpaid order to lie about")
    victim = found[rng.randrange(len(found))]
    event_id = f"evt_{uuid4().hex}"
    body = _succeeded(event_id, victim)
    secret, now = beaten.stack.webhook_secret, int(time.time())
    signatures = {
        "none": "",
        "another secret": _sign(body, "whsec_of_somebody_else", now),
        "too old": _sign(body, secret, now - 600),
        "in the future": _sign(body, secret, now + 600),
        "of another body": _sign(body.replace("succeeded", "canceled"), secret, now),
    }
    for what, signature in signatures.items():
        answer = await _post(beaten, body, signature)
        if answer.status_code != httpx.codes.BAD_REQUEST:
            raise Breach(f"a webhook with a signature {what} was answered {answer.status_code}")
    await asyncio.sleep(1)
    if await beaten.rows("payment", "SELECT 1 FROM stripe_events WHERE event_id = $1", event_id):
        raise Breach(f"a refused webhook had an effect: {event_id}")
    return f"{len(signatures)} forged or stale webhooks about {victim['order_id']} were refused"


@fault(name="webhooks-no-gateway", row=ROW)
async def webhooks_no_gateway(beaten: Beaten, rng: random.Random) -> str:
    """They find no gateway, and are sent again."""
    seconds = rng.uniform(2.0, 5.0)

    async def strike() -> None:
        await beaten.kill("gateway")

    async def heal() -> None:
        await beaten.revive("gateway")

    return await _refused(beaten, "no gateway", seconds, strike, heal)


@fault(name="webhooks-no-broker", row=ROW)
async def webhooks_no_broker(beaten: Beaten, rng: random.Random) -> str:
    """The gateway cannot keep them, says so, and they are sent again."""
    seconds = rng.uniform(5.0, 9.0)

    async def strike() -> None:
        await beaten.network.cut("gateway-kafka")

    async def heal() -> None:
        await beaten.network.heal("gateway-kafka")

    return await _refused(beaten, "no broker", seconds, strike, heal)


async def _refused(
    beaten: Beaten,
    what: str,
    seconds: float,
    strike: Callable[[], Awaitable[None]],
    heal: Callable[[], Awaitable[None]],
) -> str:
    """Webhooks of what customers do at Stripe meanwhile must fail, and come afterwards."""
    standin = StandIn(beaten)
    await beaten.work_in_hand()
    before = await standin.webhooks()
    try:
        await strike()
        await asyncio.sleep(seconds)
        during = await standin.webhooks()
    finally:
        await heal()
    failed = during["failed_attempts"] - before["failed_attempts"]
    if not failed:
        raise NotStruck(f"no webhook was sent while there was {what}")

    async def all_came() -> int:
        after = await standin.webhooks()
        return after["delivered"] - during["delivered"] >= during["due"] + during["sending"]

    await beaten.until(
        all_came, within=45, otherwise="webhooks were not sent again", error=Breach, every=0.3
    )
    return f"{failed} webhooks were refused in {seconds:.1f} s while there was {what}, and came"


def _succeeded(event_id: str, payment: Any) -> str:
    return json.dumps(
        {
            "id": event_id,
            "object": "event",
            "type": "payment_intent.succeeded",
            "created": int(time.time()),
            "livemode": False,
            "data": {
                "object": {
                    "id": payment["payment_intent_id"],
                    "object": "payment_intent",
                    "status": "succeeded",
                    "amount": payment["amount"],
                    "amount_received": payment["amount"],
                    "currency": payment["currency"],
                    "metadata": {"order_id": str(payment["order_id"])},
                }
            },
        }
    )


def _sign(body: str, secret: str, timestamp: int) -> str:
    header: str = WebhookSignature.generate_signature_header(body, secret, timestamp)
    return header


async def _post(beaten: Beaten, body: str, signature: str) -> httpx.Response:
    return await beaten.client.post(
        f"{beaten.stack.gateway}/v1/stripe/webhook",
        content=body,
        headers={"Stripe-Signature": signature} if signature else {},
    )
