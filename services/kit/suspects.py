"""Partitions that took nothing while others did, and when each of them is tried again.

A circuit breaker per partition: it opens by itself after a pause, which grows to four seconds, and
one acknowledgement closes it.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiokafka import TopicPartition

from services.kit.telemetry import log

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
NO_PARTITION: Final = -1


def nowhere(topic: str) -> TopicPartition:
    """The place of messages to a topic that the broker does not know."""
    return TopicPartition(topic, NO_PARTITION)


@dataclass(slots=True)
class Suspect:
    """When a partition is tried again (`time.monotonic`), and what it failed with."""

    error: str
    pause: float = _FIRST_PAUSE
    next_try: float = 0.0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.next_try

    def claim(self) -> bool:
        """Whether the caller may try now; others wait for another pause."""
        due = self.is_due
        if due:
            self.next_try = time.monotonic() + self.pause
        return due


class Suspects:
    """Of one publisher."""

    def __init__(self) -> None:
        self._by_place: dict[TopicPartition, Suspect] = {}

    def __contains__(self, place: TopicPartition) -> bool:
        return place in self._by_place

    def get(self, place: TopicPartition) -> Suspect | None:
        return self._by_place.get(place)

    def due(self, places: Iterable[TopicPartition]) -> set[TopicPartition]:
        """Those that are not suspects, or whose next attempt is due."""
        return {
            place
            for place in places
            if (suspect := self._by_place.get(place)) is None or suspect.is_due
        }

    def failed(self, place: TopicPartition, error: str) -> None:
        if (suspect := self._by_place.get(place)) is None:
            suspect = self._by_place[place] = Suspect(error)
            log.warning(
                "a partition takes no messages; they wait in the outbox",
                topic=place.topic,
                partition=place.partition,
                error=error,
            )
        suspect.error = error
        suspect.next_try = time.monotonic() + suspect.pause
        suspect.pause = min(suspect.pause * 2, _LONGEST_PAUSE)

    def acknowledged(self, places: Iterable[TopicPartition]) -> None:
        if not self._by_place:  # nearly always
            return
        for place in places:
            self._by_place.pop(nowhere(place.topic), None)
            if self._by_place.pop(place, None):
                log.info(
                    "a partition takes messages again", topic=place.topic, partition=place.partition
                )
