"""How old the oldest unhandled record of a partition is, told from looks at the partition's end.

    a look: "at 12:00:04 the end was 170"   ->   record 170 was written after 12:00:04

What was written between two looks is taken to have come evenly, so an age is right to the distance
of two looks, and no record is read for it. Pure: offsets and times (seconds) are given.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka import ConsumerRecord, TopicPartition

MOST_LOOKS: Final = 64


class Behind(NamedTuple):
    """What of a topic is not handled yet."""

    records: int = 0
    seconds: float = 0.0
    """The age of the oldest."""


class Backlogs:
    """Of the partitions that a process has at the moment."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._topics = tuple(topics)
        self._of: dict[TopicPartition, Backlog] = {}

    def measure(
        self,
        ends: Mapping[TopicPartition, int],
        reached: Mapping[TopicPartition, int],
        in_hand: "Sequence[ConsumerRecord[bytes, bytes]]",
        now: float,
    ) -> dict[str, Behind]:
        """By topic, from one look at the ends of all partitions, asked for at `now` or later."""
        self._of = {place: self._of.get(place, Backlog()) for place in ends}
        behind = dict.fromkeys(self._topics, Behind())
        for place, end in ends.items():
            backlog, at = self._of[place], reached[place]
            backlog.look(end, now)
            if at < end and not backlog.knows(at):
                # It waited before this process looked for the first time.
                for record in in_hand:
                    if (record.topic, record.partition) == place:
                        backlog.written(record.offset, record.timestamp / 1000)
                        break
            records, seconds = behind[place.topic]
            behind[place.topic] = Behind(
                records + max(0, end - at), max(seconds, backlog.age(at, now))
            )
        return behind


class Look(NamedTuple):
    """The record at `offset`, and those behind it, were written at `at` or later."""

    offset: int
    at: float


class Backlog:
    """Of one partition."""

    def __init__(self) -> None:
        self._looks: list[Look] = []

    def look(self, end: int, at: float) -> None:
        """The partition's end now. Of an end that stays, the first and the last look count: what
        is before it was written by the first, what is behind it after the last."""
        if self._looks and self._looks[-1].offset > end:
            self._looks.clear()  # a broker that lost records leads the partition now
        if len(self._looks) > 1 and self._looks[-2].offset == end:
            self._looks.pop()
        self._looks.append(Look(end, at))
        if len(self._looks) > MOST_LOOKS:
            del self._looks[1:-1:2]

    def written(self, offset: int, at: float) -> None:
        """When a record was written that is older than any look."""
        if not self._looks or offset < self._looks[0].offset:
            self._looks.insert(0, Look(offset, at))

    def knows(self, reached: int) -> bool:
        """Whether there was a look before the record at `reached` was written."""
        return bool(self._looks) and self._looks[0].offset <= reached

    def age(self, reached: int, now: float) -> float:
        """Seconds since the record at `reached` was written; 0.0 when there is none.

        What is older than the first look is at least as old as that. Offsets below `reached` are
        not asked for again.
        """
        after = bisect_right(self._looks, reached, key=lambda look: look.offset)
        if after == len(self._looks):
            del self._looks[: after - 1]
            return 0.0
        if after == 0:
            return max(0.0, now - self._looks[0].at)
        before, behind = self._looks[after - 1 : after + 1]
        share = (reached - before.offset) / (behind.offset - before.offset)
        del self._looks[: after - 1]
        return max(0.0, now - (before.at + share * (behind.at - before.at)))
