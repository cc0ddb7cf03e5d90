"""How far a consumer has got on each of its partitions, and telling the broker so.

The broker is told once a second, not per batch: the inbox makes a late commit harmless. A commit
that gets no answer is given up after a while: after the broker was away, aiokafka's may wait for
ever, while fetching goes on.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from services.kit.errors import is_infrastructure
from services.kit.telemetry import log

_PATIENCE = 5.0


class Offsets:
    """Of the partitions that one consumer has at the moment."""

    def __init__(self, mark: Callable[[], Awaitable[str]]) -> None:
        """`mark`: commits a marker to the database and returns its id, see `failover.py`."""
        self._mark = mark
        self._settled: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int] = {}
        self.failing_since = math.inf
        """When a commit failed (`time.monotonic`), infinite if one was accepted after it."""

    def taken(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """A batch is in hand: where these partitions stand, as the consumer's own position is past
        the batch."""
        for record in records:
            self._settled.setdefault(_place(record), record.offset)

    def settled(self, records: "Sequence[ConsumerRecord[bytes, bytes]]") -> None:
        """A batch is done, its effects are in the database."""
        for record in records:
            self._settled[_place(record)] = record.offset + 1

    async def reached(self, consumer: AIOKafkaConsumer, place: TopicPartition) -> int:
        """The first offset that is not settled yet."""
        if place in self._settled:
            return self._settled[place]
        position: int = await consumer.position(place)
        return position

    async def commit(self, consumer: AIOKafkaConsumer | None) -> None:
        """Tell the broker what is settled; what it does not learn comes again and is skipped."""
        due = {
            place: offset
            for place, offset in self._settled.items()
            if self._committed.get(place) != offset
        }
        if not due or consumer is None:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                marker = await self._mark()
        except Exception as error:
            if not is_infrastructure(error):
                raise
            # Not a failure of the client: it must not be replaced for that. Batches report it.
            log.debug("offsets not committed, the database is away", error=repr(error))
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                await consumer.commit({place: (offset, marker) for place, offset in due.items()})
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            # No broker, or thrown out of the group.
            log.warning("offsets not committed", error=repr(error))
            self.failing_since = min(self.failing_since, time.monotonic())
        else:
            self._committed.update(due)
            self.failing_since = math.inf

    def forget(self) -> None:
        """The partitions may be others from here on."""
        self._settled.clear()
        self._committed.clear()
        self.failing_since = math.inf


def _place(record: "ConsumerRecord[bytes, bytes]") -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
