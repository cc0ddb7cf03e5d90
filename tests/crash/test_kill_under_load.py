"""Services die while many orders are in their hands, with and without another to take over."""

import asyncio
import random

import pytest

from deploy.local.stack import LocalStack
from tests.crash.agreement import one_order_per_key, paid_orders_are_whole, views_agree
from tests.crash.conftest import Customers
from tests.invariants import WAITING, check_invariants, rows

ORDERS_PER_SECOND = 30


async def in_hand(stack: LocalStack) -> int:
    """Orders for which somebody owes an answer right now."""
    (row,) = await rows(
        stack, "order", "SELECT count(*) FROM orders WHERE saga_state = ANY($1)", WAITING
    )
    return int(row["count"])


async def all_is_well(stack: LocalStack, customers: Customers, count: int, seed: int) -> None:
    assert len(customers.acknowledged) == count, f"seed {seed}"
    await check_invariants(stack, customers.acknowledged)
    await views_agree(stack)
    await one_order_per_key(stack, f"customer-{seed}-%", customers.acknowledged)
    assert await paid_orders_are_whole(stack), f"seed {seed}: nobody paid"


@pytest.mark.timeout(240)
async def test_each_service_is_killed_with_orders_in_hand(
    beaten: LocalStack, customers: Customers
) -> None:
    """Thirty orders a second; the one that is killed comes back after its work has piled up."""
    seed = random.randrange(10_000, 1_000_000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    services = rng.sample(("order", "inventory", "payment", "gateway"), k=4)
    coming = asyncio.create_task(customers.come(600, pause=1 / ORDERS_PER_SECOND, seed=seed))
    struck = {}
    for service in services:
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        await asyncio.to_thread(beaten.kill, service)
        await asyncio.sleep(rng.uniform(0.2, 0.8))
        struck[service] = await in_hand(beaten)
        assert not coming.done(), f"seed {seed}: the load was over when {service} was killed"
        await asyncio.to_thread(beaten.start, service)
    await coming
    print(f"orders in hand when it was down: {struck}")
    assert sum(count > 0 for count in struck.values()) >= 2, f"seed {seed}: {struck}"
    await all_is_well(beaten, customers, 600, seed)


@pytest.mark.timeout(180)
async def test_the_other_replicas_take_over_what_a_dead_one_held(
    beaten: LocalStack, customers: Customers
) -> None:
    """The first of two dies with orders in hand and stays dead until all orders are decided."""
    services = ("order", "inventory", "payment")
    seconds = [f"{service}-2" for service in services]
    await asyncio.gather(*(asyncio.to_thread(beaten.start, name) for name in seconds))
    seed = random.randrange(10_000, 1_000_000)
    print(f"seed {seed}")
    try:
        coming = asyncio.create_task(customers.come(100, pause=0.05, seed=seed))
        await asyncio.sleep(2)
        await asyncio.gather(*(asyncio.to_thread(beaten.kill, name) for name in services))
        assert not coming.done()
        await coming
        await all_is_well(beaten, customers, 100, seed)
        assert not any(beaten.process(name).pid for name in services)
    finally:
        for name in services:
            if beaten.process(name).pid is None:
                await asyncio.to_thread(beaten.start, name)
        await asyncio.gather(*(asyncio.to_thread(beaten.stop, name) for name in seconds))
