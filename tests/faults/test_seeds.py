"""The harness in short: three seeds that are always the same, and one that never is."""

import random

import pytest

from tests.faults.run import run, schedule_of

FIXED = (1, 2, 3)
FAULTS = 4
ORDERS_PER_SECOND = 50


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [*FIXED, None], ids=lambda seed: str(seed or "random"))
async def test_nothing_is_lost_and_nothing_doubled(seed: int | None) -> None:
    """Repeat one that fails by `make faults SEED=n ARGS='--faults 4'`."""
    seed = seed or random.randrange(1_000_000)
    schedule = schedule_of(seed, FAULTS)
    print(f"seed {seed}: {', '.join(schedule)}")
    verdict = await run(seed, schedule, rate=ORDERS_PER_SECOND)
    assert not verdict.breaches, (seed, schedule, verdict.breaches[:10], verdict.missed)
