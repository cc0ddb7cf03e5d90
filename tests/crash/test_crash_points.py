"""A service dies at the worst moments there are; nothing is lost, nothing is doubled."""

import asyncio
import signal
import time

import pytest

from deploy.local.stack import LocalStack
from tests.crash.conftest import Customers
from tests.looking import assert_promises, rows

POINTS = [
    ("order", "after-commit"),
    ("order", "after-publish"),
    ("inventory", "after-commit"),
    ("inventory", "after-publish"),
    ("payment", "after-commit"),
    ("payment", "after-publish"),
    ("payment", "after-stripe-call"),
    ("gateway", "after-commit"),
    ("gateway", "after-publish"),
]


async def dies(stack: LocalStack, name: str) -> None:
    """Wait until the process has killed itself."""
    deadline = time.monotonic() + 20
    while stack.process(name).pid is not None:
        assert time.monotonic() < deadline, f"{name} never came to its crash point"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("service", "point"), POINTS, ids=lambda value: value)
async def test_a_crash_between_two_steps_is_repaired_by_itself(
    beaten: LocalStack, customers: Customers, service: str, point: str
) -> None:
    beaten.stop(service)
    beaten.start(service, env={"CRASH_AT": point}, wait=False)
    coming = asyncio.create_task(customers.come(6, seed=POINTS.index((service, point))))
    await dies(beaten, service)
    assert beaten.process(service).exit_status == -signal.SIGKILL
    await asyncio.to_thread(beaten.start, service)
    await coming
    assert customers.acknowledged
    await assert_promises(beaten, customers.acknowledged)


async def test_a_crash_in_mid_sweep_of_deadlines_is_repaired_by_itself(
    beaten: LocalStack, customers: Customers
) -> None:
    """Inventory is away, so the order's answer is overdue and its sweeper strikes."""
    beaten.stop("inventory")
    beaten.stop("order")
    beaten.start("order", env={"CRASH_AT": "mid-sweep"})
    coming = asyncio.create_task(customers.come(3, seed=77))
    await dies(beaten, "order")
    await asyncio.to_thread(beaten.start, "order")
    await asyncio.to_thread(beaten.start, "inventory")
    await coming
    await assert_promises(beaten, customers.acknowledged)


async def test_a_crash_in_mid_sweep_of_the_outbox_is_repaired_by_itself(
    beaten: LocalStack, customers: Customers
) -> None:
    """The first crash leaves an orphan in the outbox, the second strikes the one who finds it."""
    beaten.stop("inventory")
    beaten.start("inventory", env={"CRASH_AT": "after-commit"}, wait=False)
    coming = asyncio.create_task(customers.come(3, seed=78))
    await dies(beaten, "inventory")
    assert await rows(beaten, "inventory", "SELECT 1 FROM outbox")
    beaten.start("inventory", env={"CRASH_AT": "mid-sweep"}, wait=False)
    await dies(beaten, "inventory")
    await asyncio.to_thread(beaten.start, "inventory")
    await coming
    await assert_promises(beaten, customers.acknowledged)
