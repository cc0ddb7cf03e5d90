"""The harness in short: one seed that takes all of the interesting paths; see `make faults`.

At a modest rate, so that it also passes on a busy machine; `make faults` offers 50 orders a second.
"""

import pytest

from tests.faults.run import run, schedule_of

SEED, FAULTS, ORDERS_PER_SECOND = 1, 4, 20


@pytest.mark.timeout(600)
async def test_nothing_is_lost_and_nothing_doubled() -> None:
    schedule = schedule_of(SEED, FAULTS)
    verdict = await run(SEED, schedule, rate=ORDERS_PER_SECOND)
    assert not verdict.breaches, (schedule, verdict.breaches[:10], verdict.missed)
