"""Stripe answers everything with 5xx for a while, slowly: what that costs, and how it ends."""

import asyncio
import random
import time
from datetime import datetime
from typing import Final

from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.standin import StandIn
from tests.faults.stripe_faults import ROW

_LATENCY_MS: Final = 300
_BACK_TO_NORMAL: Final = 120.0
"""Seconds after the end of the outage within which no call may wait any more."""
_WAITS: Final = 5.0
"""Seconds after which a call that is due counts as waiting."""
_LOOKS: Final = ("list_payment_intents", "search_payment_intents")
_ASKED: Final = (
    "create_payment_intent",
    "cancel_payment_intent",
    "get_payment_intent",
    "create_refund",
    "list_refunds",
    *_LOOKS,
)
"""What the payment service asks; what customers ask is left alone."""
_RESERVATION: Final = 120
"""Seconds; so long that the orders of the outage are served after it, not cancelled in it."""


@fault(name="stripe-brownout", row=ROW)
async def stripe_brownout(beaten: Beaten, rng: random.Random) -> str:
    """Ten seconds, so that seeds of CI can draw it. Many orders of that time expire meanwhile."""
    return await _brownout(beaten, 10.0)


@fault(name="stripe-brownout-minute", row=ROW, soak_only=True)
async def stripe_brownout_minute(beaten: Beaten, rng: random.Random) -> str:
    """A minute, and the orders of that minute live on: all of them are served afterwards."""
    try:
        await beaten.stop("order")
        await beaten.start("order", env={"RESERVATION_SECONDS": str(_RESERVATION)})
        evidence = await _brownout(beaten, 60.0)
    finally:
        if beaten.pid("order") is not None:
            await beaten.stop("order")
        await beaten.revive("order")
    await _long_reservations_end(beaten)
    return evidence


async def _brownout(beaten: Beaten, seconds: float) -> str:
    standin = StandIn(beaten)
    await beaten.work_in_hand()
    (row,) = await beaten.rows("payment", "SELECT now() AS began")
    opened = await beaten.metric("payment", "orderflow_stripe_circuit_opened_total")
    before = await standin.operations()
    try:
        await standin.strike(
            [
                {"kind": kind, "operation": operation, **more}
                for operation in _ASKED
                for kind, more in (
                    ("delay", {"delay_ms": _LATENCY_MS}),
                    ("error_before", {}),
                )
            ]
        )
        await asyncio.sleep(seconds)
        during = await standin.operations() - before
    finally:
        await standin.clear()
    recovered = await _back_to_normal(beaten)
    made = await standin.operations() - before
    orders = await _orders_since(beaten, row["began"])
    if await beaten.metric("payment", "orderflow_stripe_circuit_opened_total") == opened:
        raise NotStruck(f"the circuit did not open: {orders} orders, {dict(during)}")
    if looks := sum(made[name] for name in _LOOKS):
        raise Breach(f"{looks} looks for intents, though no key was spent")
    calls = sum(made[name] for name in _ASKED)
    return (
        f"Stripe answered 5xx for {seconds:.0f} s to {sum(during[name] for name in _ASKED)} calls, "
        f"{orders} orders came; normal {recovered:.1f} s after its end, "
        f"{calls / max(orders, 1):.2f} calls per order in all"
    )


async def _back_to_normal(beaten: Beaten) -> float:
    """Wait until no call that is due has to wait; says how many seconds that took."""
    ended = time.monotonic()

    async def normal() -> int:
        (row,) = await beaten.rows(
            "payment",
            """
            SELECT count(*) AS waiting
              FROM stripe_calls
             WHERE created_at < now() - $1 * interval '1 second'
            """,
            _WAITS,
        )
        still_open = await beaten.metric("payment", "orderflow_stripe_circuit_open")
        return not row["waiting"] and not still_open

    await beaten.until(
        normal,
        within=_BACK_TO_NORMAL,
        otherwise=f"calls still wait {_BACK_TO_NORMAL:.0f} s after the end of Stripe's outage",
        error=Breach,
        every=0.5,
    )
    return time.monotonic() - ended


async def _orders_since(beaten: Beaten, began: datetime) -> int:
    (row,) = await beaten.rows(
        "payment", "SELECT count(*) AS orders FROM payments WHERE created_at >= $1", began
    )
    return int(row["orders"])


async def _long_reservations_end(beaten: Beaten) -> None:
    """Orders that nobody pays must not keep the run from its rest."""

    async def ended() -> int:
        return not await beaten.rows(
            "order",
            "SELECT FROM orders WHERE saga_state = 'awaiting_payment'"
            " AND deadline_at > now() + interval '15 seconds' LIMIT 1",
        )

    await beaten.until(
        ended, within=_RESERVATION + 30, otherwise="unpaid orders do not expire", every=1.0
    )
