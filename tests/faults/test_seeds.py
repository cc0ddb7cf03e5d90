"""The harness in short: three seeds that are always the same, and one by chance; see `make faults`.

A seed that fails here is repeated with the command that its report names.
"""

import random

import pytest

from tests.faults.run import run, schedule_of
from tests.faults.trial import HOME

FIXED = (1, 2, 3)
FAULTS, ORDERS_PER_SECOND = 4, 15
BY_CHANCE = random.SystemRandom().randrange(1_000, 1_000_000)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [*FIXED, pytest.param(BY_CHANCE, id="by-chance")])
async def test_nothing_is_lost_and_nothing_doubled(seed: int) -> None:
    schedule = schedule_of(seed, FAULTS)
    home = HOME.with_name(f"faults-{seed}")
    verdict = await run(seed, schedule, rate=ORDERS_PER_SECOND, home=home)
    again = f"make faults SEED={seed} ARGS='--faults {FAULTS}'"
    assert not verdict.breaches, (again, schedule, verdict.breaches[:10], verdict.missed)
