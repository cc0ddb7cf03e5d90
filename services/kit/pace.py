"""How long a consumer rests between two batches, so that small ones become fewer and larger.

A batch costs much the same however small it is: a transaction, its statements, a record of each
topic that it sends to. Under load a consumer that never rests therefore spends the machine on many
small batches. It rests as long as the last one took: the busier the machine, the longer that was,
and the more a rest is worth. Nobody rests who was idle before, or had a large or full batch.
"""

from typing import Final

_AT_ONCE: Final = 0.005
"""Seconds: a batch that came so soon after the last one's rest was there already."""
_LONGEST: Final = 0.05
_LARGE: Final = 100


class Pace:
    """Of one consumer, whose batches hold `most` records. Times are seconds of one clock."""

    def __init__(self, most: int) -> None:
        self._large = min(_LARGE, most)
        self._finished_at = float("-inf")
        self._took = 0.0

    def rest_after(self, records: int, started: float, finished: float) -> float:
        """Seconds to rest after a batch of so many records."""
        took = finished - started
        under_load = started - self._finished_at < _AT_ONCE + self._took
        self._finished_at, self._took = finished, took
        return min(took, _LONGEST) if under_load and records < self._large else 0.0
