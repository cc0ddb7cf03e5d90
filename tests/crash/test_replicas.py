"""Two and three replicas of each service share the work; one may come and go, or be killed."""

import asyncio
import random

import pytest

from deploy.local.stack import LocalStack
from tests.crash.conftest import Customers
from tests.looking import assert_promises

SERVICES = ("order", "inventory", "payment", "gateway")


async def test_two_and_three_replicas_work_together_while_one_comes_and_goes(
    beaten: LocalStack, customers: Customers
) -> None:
    seconds = [f"{service}-2" for service in SERVICES]
    thirds = [f"{service}-3" for service in ("order", "inventory", "payment")]
    coming = asyncio.create_task(customers.come(60, pause=0.25, seed=21))
    await asyncio.gather(*(asyncio.to_thread(beaten.start, name) for name in seconds))
    await asyncio.gather(*(asyncio.to_thread(beaten.start, name) for name in thirds))
    await asyncio.gather(*(asyncio.to_thread(beaten.stop, name) for name in thirds))
    await coming
    await asyncio.gather(*(asyncio.to_thread(beaten.stop, name) for name in seconds))
    assert len(customers.acknowledged) == 60
    await assert_promises(beaten, customers.acknowledged)


@pytest.mark.timeout(180)
async def test_any_service_may_be_killed_at_any_moment(
    beaten: LocalStack, customers: Customers
) -> None:
    seed = random.randrange(10_000)
    print(f"seed {seed}")
    rng = random.Random(seed)
    coming = asyncio.create_task(customers.come(90, pause=0.25, seed=seed))
    for service in rng.sample(SERVICES, k=len(SERVICES)):
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        await asyncio.to_thread(beaten.kill, service)
        await asyncio.to_thread(beaten.start, service)
    await coming
    assert len(customers.acknowledged) == 90, f"seed {seed}"
    await assert_promises(beaten, customers.acknowledged)
