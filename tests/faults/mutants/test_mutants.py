"""The list of mutants does not rot: each still fits the code, and each promise has one."""

import ast

import pytest

import tests.faults  # noqa: F401  # declares the faults
from deploy.verify.invariants import INVARIANTS
from tests.faults.mutants.breaking import Edit, MovedOnError, Mutant
from tests.faults.mutants.mutants import MUTANTS
from tests.faults.nemesis import FAULTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_the_code_and_leaves_a_program(mutant: Mutant) -> None:
    texts = mutant.texts()
    assert texts
    for path, text in texts.items():
        assert path.startswith("services/"), "the checker is not to be broken"
        if path.endswith(".py"):
            ast.parse(text, path)
    assert set(mutant.faults) <= FAULTS.keys()


def test_each_promise_is_broken_by_a_mutant_of_its_own_name() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == {each.number for each in INVARIANTS}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("old", ["not there any more", "import"])
def test_code_that_moved_on_is_told_by_its_file(old: str) -> None:
    path = "services/kit/inbox.py"
    edit = Edit(path, old, "")
    with pytest.raises(MovedOnError, match=f"{path} has .* times, not once"):
        Mutant("any", "any", "I1", 1, (), (edit,)).texts()
