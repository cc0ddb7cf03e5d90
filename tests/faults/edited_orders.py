"""Operators edit orders by SQL: one that cannot be advanced any more must hold up no other, and one
that is closed must give up its payment and its stock."""

import asyncio
import random
from typing import Any
from uuid import UUID

import httpx

from deploy.local.shop import Shop, ShopError
from tests.faults.nemesis import Beaten, Breach, NotStruck, fault

ROW = "Orders edited by SQL"

BREAKS = {
    "a line of no pieces": (
        """
        UPDATE orders SET lines = replace(lines::text, '"quantity":1', '"quantity":0')::json
         WHERE id = $1
        """,
        "UPDATE orders SET lines = $2 WHERE id = $1",
    ),
    "a time that Python cannot hold": (
        "UPDATE orders SET created_at = '200000-01-01' WHERE id = $1",
        "UPDATE orders SET created_at = updated_at, lines = $2 WHERE id = $1",
    ),
    "a history with an unknown status": (
        """
        INSERT INTO order_status_history (order_id, new_status, changed_by, created_at)
        VALUES ($1, 'lost', 'an operator', now())
        """,
        """
        WITH deleted AS (
            DELETE FROM order_status_history WHERE order_id = $1 AND new_status = 'lost'
        )
        UPDATE orders SET lines = $2 WHERE id = $1
        """,
    ),
}
"""What is done to an order, and how an operator mends it: $2 is its lines as they were. The checker
can read each of these orders, or it could not say what such an order held up."""


@fault(name="order-edited", row=ROW)
async def order_edited(beaten: Beaten, rng: random.Random) -> str:
    """Under load, one order that waits for its customer is made invalid, another one is closed. A
    third one, placed while the first is stuck, must keep its deadline. Then the first is mended."""
    how = rng.choice(sorted(BREAKS))
    await beaten.work_in_hand()
    customer = await _customer(beaten)
    closed = await _awaits_payment(beaten, customer)
    await beaten.rows("order", "UPDATE orders SET status = 'cancelled' WHERE id = $1", closed)
    broken = await _awaits_payment(beaten, customer)
    (row,) = await beaten.rows("order", "SELECT lines FROM orders WHERE id = $1", broken)
    await beaten.rows("order", BREAKS[how][0], broken)
    mend = True
    try:
        reason = await _stuck(beaten, broken)
        bystander = await _awaits_payment(beaten, customer)
        await _cancelled(beaten, bystander, "an order kept no deadline while another was stuck")
        if not await _reason(beaten, broken):
            raise Breach("an invalid order went on before it was mended")
    except Breach:
        mend = False  # what it holds up is to show at the end, as I5
        raise
    finally:
        if mend:
            await beaten.rows("order", BREAKS[how][1], broken, row["lines"])
    await _cancelled(beaten, broken, "an order did not go on when it was mended")
    await _cancelled(beaten, closed, "an order closed by SQL was not followed up")
    (held,) = await beaten.rows(
        "inventory",
        "SELECT count(*) FROM reservations WHERE order_id = $1 AND state = 'held'",
        closed,
    )
    if held["count"]:
        raise Breach("an order closed by SQL still holds stock")
    return (
        f"one order with {how} was stuck ({reason[:60]}...) and went on once it was mended, one "
        f"that was closed gave up its payment and stock, another one kept its deadline"
    )


async def _customer(beaten: Beaten) -> tuple[Shop, str]:
    """A customer of the fault's own, whose orders no story is told of, and what to order."""
    (product,) = await beaten.rows(
        "inventory",
        "SELECT id::text FROM products ORDER BY stock_quantity DESC LIMIT 1",
    )
    site = beaten.stack
    token = site.token("edited-by-sql")
    shop = Shop(beaten.client, gateway=site.gateway, stripe=site.stripe, token=token)
    return shop, product["id"]


async def _awaits_payment(beaten: Beaten, customer: tuple[Shop, str]) -> UUID:
    """Place an order: its id once it waits for its customer."""
    shop, product = customer
    for _ in range(10):
        try:
            placed = await shop.place(product, 1)
        except (ShopError, httpx.HTTPError):  # so busy that the gateway refuses some
            await asyncio.sleep(1)
            continue
        if placed.order is None:
            break
        order_id = UUID(placed.order["order_id"])
        if await _comes_to(beaten, order_id, "awaiting_payment"):
            return order_id
    raise NotStruck("no order came to wait for its payment")


async def _comes_to(beaten: Beaten, order_id: UUID, state: str) -> bool:
    """Whether an order comes to a state before it has come to its end."""
    while True:
        found = await beaten.rows("order", "SELECT saga_state FROM orders WHERE id = $1", order_id)
        if found and found[0]["saga_state"] in (state, "cancelled"):
            return bool(found[0]["saga_state"] == state)
        await asyncio.sleep(0.05)


async def _reason(beaten: Beaten, order_id: UUID) -> str | None:
    (row,) = await beaten.rows("order", "SELECT stuck_reason FROM orders WHERE id = $1", order_id)
    reason: str | None = row["stuck_reason"]
    return reason


async def _stuck(beaten: Beaten, order_id: UUID) -> str:
    """Why an order cannot be advanced, once that is known."""

    async def known() -> int:
        return bool(await _reason(beaten, order_id))

    await beaten.until(
        known,
        within=60,
        otherwise="an invalid order is not shown as stuck",
        error=Breach,
        every=0.2,
    )
    return await _reason(beaten, order_id) or ""


async def _cancelled(beaten: Beaten, order_id: UUID, otherwise: str) -> None:
    async def ended() -> int:
        rows: list[Any] = await beaten.rows(
            "order",
            "SELECT FROM orders WHERE id = $1 AND saga_state = 'cancelled' AND stuck_since IS NULL",
            order_id,
        )
        return len(rows)

    await beaten.until(ended, within=90, otherwise=otherwise, error=Breach, every=0.2)
