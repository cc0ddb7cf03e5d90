"""Two ops replicas write to the same rows: they wait for each other, and do not deadlock.

Topics are dealt out partition by partition, so one replica hears of an order's audit what the other
hears of its view.
"""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

from contracts.message import Message
from contracts.registry import MESSAGES
from services.kit.messages import decode
from services.kit.work import Work
from services.ops.observing import observe
from tests.gateway.other_side import order as published
from tests.ops.conftest import Watch, history

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
