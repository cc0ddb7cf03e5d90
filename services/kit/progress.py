"""How far behind a consumer is, and for how long it has got no further: what its health is judged
by. A process that lives and hears nothing looks well to everything else."""

import time
from collections.abc import Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from services.kit.backlog import Backlogs
from services.kit.telemetry import LAG, LAG_SECONDS


class Progress:
    """Of the partitions that one consumer has at the moment."""

    def __init__(self, topics: Sequence[str]) -> None:
        self._backlogs = Backlogs(topics)
        self._lag = 0
        self._found: dict[TopicPartition, int] | None = None
        """The ends at the first look, until all before them is handled."""
        self.caught_up = False
        self._made_at = time.monotonic()

    def made(self) -> None:
        """A batch was finished, or work begins anew."""
        self._made_at = time.monotonic()

    def measure(
        self,
        ends: Mapping[TopicPartition, int],
        reached: Mapping[TopicPartition, int],
        in_hand: "Sequence[ConsumerRecord[bytes, bytes]]",
        asked_at: float,
    ) -> None:
        """Tell the lag of each topic, from one look at the ends of all partitions, asked for at
        `asked_at` (seconds since 1970)."""
        behind = self._backlogs.measure(ends, reached, in_hand, asked_at)
        for topic, (records, seconds) in behind.items():
            LAG.labels(topic).set(records)
            LAG_SECONDS.labels(topic).set(seconds)
        if ends and not self.caught_up:
            self._found = self._found or dict(ends)
            missing = [place for place, end in self._found.items() if reached.get(place, end) < end]
            self.caught_up = not missing
        self._lag = sum(topic.records for topic in behind.values())
        if self._lag == 0:
            self.made()

    def missing_for(self) -> float:
        """Seconds without a finished batch although there is work; 0.0 when there is none."""
        return time.monotonic() - self._made_at if self._lag else 0.0
