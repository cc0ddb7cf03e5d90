"""Orders, stock and money agree, whatever customers, staff, Stripe, the network and the clock do.

For longer, after a change of the rules (about half an hour):

    HYPOTHESIS_PROFILE=soak make test ARGS=tests/saga/test_world.py
"""

import os

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.saga.machine import Shop
from tests.saga.mutants import MUTANTS, Mutant

IN_CI = settings(max_examples=300, stateful_step_count=60, deadline=None, print_blob=True)
SOAK = settings(IN_CI, max_examples=50_000, stateful_step_count=80)
PROFILE = SOAK if os.environ.get("HYPOTHESIS_PROFILE") == "soak" else IN_CI

UNTIL_NOTICED = settings(
    max_examples=1_000,
    stateful_step_count=60,
    deadline=None,
    phases=[Phase.generate],
    database=None,
    derandomize=True,  # that mutants are found must not depend on luck
    report_multiple_bugs=False,
)


@pytest.mark.timeout(0)  # when it fails, making the story short takes minutes
@pytest.mark.usefixtures("in_memory")
def test_everything_agrees_whatever_happens() -> None:
    run_state_machine_as_test(Shop, settings=PROFILE)


@pytest.mark.usefixtures("in_memory")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_protection_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.apply(monkeypatch)
    with pytest.raises(AssertionError, match=r"^I\d: "):
        run_state_machine_as_test(Shop, settings=UNTIL_NOTICED)
