"""Isolation for work on sets outside of the per-message path: sweeps, timers, reconciliation.

A consumer cuts a batch that fails until the culprit stands alone (`processor`). A timer that works
on a set needs the same: otherwise one row that cannot be handled is first in line for ever, and
nothing behind it is handled.

    culprits = await isolate(work, "sweep", due, advance)    # everything else is done
    for culprit in culprits:
        ...                                         # set aside with its reason, retried slowly
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from prometheus_client import Counter

from services.kit.errors import is_infrastructure
from services.kit.messages import storable
from services.kit.work import Work

T = TypeVar("T")

ISOLATED: Final = Counter(
    "orderflow_isolated_total", "Items that failed alone and were set aside by a timer", ["task"]
)

REASON_LENGTH: Final = 500
"""Characters of a reason: an error may quote all that it was given."""


class Culprit(NamedTuple, Generic[T]):
    """An item that failed alone, and the error that it raised."""

    item: T
    error: Exception

    @property
    def reason(self) -> str:
        """The error as one line of at most REASON_LENGTH characters, which PostgreSQL can store."""
        return reason_of(self.error)


def reason_of(error: Exception) -> str:
    """An error as one line of at most REASON_LENGTH characters, which PostgreSQL can store."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return storable(line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 3]}...")


async def isolate(
    work: Work, task: str, items: Sequence[T], handle: Callable[[Sequence[T]], Awaitable[None]]
) -> list[Culprit[T]]:
    """Handle a set inside the open transaction; returns the items that fail on their own.

    Each attempt is a savepoint. One that fails is rolled back together with what it decided to
    send, and its halves are tried. One culprit among n items costs about 2 log2(n) attempts, a set
    without one costs one. Row locks that were taken before the call are kept throughout. Culprits
    are counted as `task` once the transaction has committed.

    Raises:
        Every infrastructure error: the whole transaction is to be repeated.
    """
    # From 0: of a series that begins at 1 Prometheus sees no increase.
    isolated = ISOLATED.labels(task)
    if not items:
        return []
    queued = [(entries, len(entries)) for entries in (work.outgoing, work.to_park, work.callbacks)]
    try:
        async with work.db.transaction():
            await handle(items)
    except Exception as error:
        if is_infrastructure(error):
            raise
        for entries, length in queued:
            del entries[length:]
        if len(items) == 1:
            work.after_commit(isolated.inc)
            return [Culprit(items[0], error)]
    else:
        return []
    middle = len(items) // 2
    return [
        *await isolate(work, task, items[:middle], handle),
        *await isolate(work, task, items[middle:], handle),
    ]
