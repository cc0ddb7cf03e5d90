"""The kit with one protection taken away: the story that the protection is for must fail.

Those of `tests/faults/mutants` break the running system; these need a moment that no fault of the
harness can bring about at will.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from services.kit.outbox import Outbox
from services.kit.processor import BatchProcessor
from tests.kit import test_deaf, test_outbox
from tests.kit.conftest import Bench

Break = Callable[[pytest.MonkeyPatch], None]
Story = Callable[[Bench, pytest.MonkeyPatch], Awaitable[None]]


class Mutant(NamedTuple):
    name: str
    apply: Break
    story: Story


def wait_for_ever(patch: pytest.MonkeyPatch) -> None:
    """An abandoned batch is remembered as one that waits: liveness is off for good."""

    @contextmanager
    def waiting(self: BatchProcessor) -> Iterator[None]:
        self._waits = 1
        yield
        self._waits = 0

    patch.setattr(BatchProcessor, "_waiting", waiting)


def hold_nothing(patch: pytest.MonkeyPatch) -> None:
    """What follows overtakes what is left of earlier rows."""
    patch.setattr(Outbox, "_held", lambda _outbox: frozenset())


MUTANTS = (
    Mutant(
        "an abandoned batch waits for ever",
        wait_for_ever,
        test_deaf.test_after_an_abandoned_batch_a_silent_consumer_still_joins_anew,
    ),
    Mutant(
        "nothing is held",
        hold_nothing,
        test_outbox.test_what_comes_later_waits_behind_what_is_held,
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
async def test_a_protection_that_is_taken_away_is_missed(
    mutant: Mutant, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.apply(monkeypatch)
    with pytest.raises(AssertionError):
        await mutant.story(bench, monkeypatch)
