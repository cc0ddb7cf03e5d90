"""Two ops replicas write to the same rows: they wait for each other, and do not deadlock.

Topics are dealt out partition by partition, so one replica hears of an order's audit what the other
hears of its view, and both hear of the products that everybody buys.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

from contracts.message import Message
from contracts.registry import MESSAGES
from services.kit.messages import decode
from services.kit.work import Work
from services.ops.counting import count_stock
from services.ops.observing import observe
from tests.gateway.other_side import order as published
from tests.ops.conftest import Watch, history
from tests.ops.stock import adjusted, told

ROUNDS = 10


async def hears(watch: Watch, partition: int, messages: Sequence[Message]) -> None:
    """One batch in a transaction of its own, without the repeats that would hide a deadlock."""
    items = [decode(watch.record(each, partition=partition), MESSAGES) for each in messages]
    async with watch.pool.acquire() as db, db.transaction():
        await observe(Work(db, "ops"), items)


async def test_two_replicas_hear_of_the_same_orders(watch: Watch) -> None:
    def audits(orders: Sequence[UUID]) -> list[Message]:
        return [history(order_id, 1)[0] for order_id in orders]

    def views(orders: Sequence[UUID]) -> list[Message]:
        return [published(order_id, "anna", 1) for order_id in orders]

    for _ in range(ROUNDS):
        some, others = ([uuid4() for _ in range(40)] for _ in range(2))
        await asyncio.gather(
            hears(watch, 0, [*audits(some), *views(others)]),
            hears(watch, 1, [*audits(others), *views(some)]),
        )
    whole = "SELECT count(*) FROM orders WHERE version = 1 AND audit_version = 1"
    assert await watch.owner.fetchval(whole) == ROUNDS * 80


async def test_two_replicas_count_and_hear_of_the_same_products(watch: Watch) -> None:
    products = [uuid4() for _ in range(30)]

    async def counts() -> None:
        async with watch.pool.acquire() as db, db.transaction():
            await count_stock(Work(db, "ops"))

    for number in range(1, ROUNDS + 1):
        there, back = ([adjusted(each, 1) for each in ids] for ids in (products, products[::-1]))
        levels = [told(each, number, number * 2) for each in products]
        await asyncio.gather(hears(watch, 0, there), hears(watch, 1, back))
        await asyncio.gather(
            counts(), counts(), hears(watch, 2, levels), hears(watch, 3, levels[::-1])
        )
    wrong = "SELECT count(*) FROM stock WHERE moved <> $1 OR level <> $1"
    assert await watch.owner.fetchval(wrong, ROUNDS * 2) == 0
    assert await watch.owner.fetchval("SELECT count(*) FROM stock") == 30
