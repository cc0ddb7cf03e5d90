"""Who is served next in the queue of Stripe calls. Pure; `call_queue.claim_calls` carries it out.

Each kind of call is a class, and the repeats of each kind are another one. While several classes
have calls that are due, they share the slots of a process in proportion to their weights: the next
free slot goes to the class with the fewest calls in flight for its weight. So a customer who waits
for an intent does not wait behind thousands of cancellations, the cancellations go on, and a class
of its own due calls takes every slot. Within a class, the call that is due longest comes first.

Repeats of all kinds together never take more than a part of the slots: each may last until its
time-out, and while all slots wait for that, no new call could be made.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from services.payment.model import RETRY, Call, CallKind

_KINDS: Final = {
    CallKind.CREATE_INTENT: 8.0,  # a customer waits at the checkout
    CallKind.CREATE_REFUND: 4.0,  # a customer waits for money
    CallKind.RETRIEVE_INTENT: 2.0,
    CallKind.CANCEL_INTENT: 2.0,  # housekeeping: stock comes back a little later
}
WEIGHTS: Final[dict[str, float]] = {
    **{str(kind): weight for kind, weight in _KINDS.items()},
    **{f"{kind}{RETRY}": weight / 2 for kind, weight in _KINDS.items()},
}
"""By queue class."""
_REPEATS_OF_SLOTS: Final = 0.75


class Shares(NamedTuple):
    """What a claim needs to know; the first three have an entry for each class."""

    classes: list[str]
    weights: list[float]
    in_flight: list[int]
    repeats: int
    """How many repeats may be claimed at most."""


class FairShare:
    """The calls in flight of one process."""

    def __init__(self, slots: int) -> None:
        self._repeat_slots = max(1, int(slots * _REPEATS_OF_SLOTS))
        self._in_flight = Counter[str]()

    def shares(self) -> Shares:
        repeats = sum(n for name, n in self._in_flight.items() if name.endswith(RETRY))
        return Shares(
            list(WEIGHTS),
            list(WEIGHTS.values()),
            [self._in_flight[name] for name in WEIGHTS],
            max(0, self._repeat_slots - repeats),
        )

    def claimed(self, calls: Iterable[Call]) -> None:
        self._in_flight.update(call.queue_class for call in calls)

    def ended(self, call: Call) -> None:
        self._in_flight[call.queue_class] -= 1
