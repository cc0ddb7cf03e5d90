"""Which partition each message goes to, and whether it fits there at all."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from services.kit.messages import Outgoing
from services.kit.outcome import Outcome
from services.kit.partitioner import hash_of
from services.kit.suspects import NO_PARTITION, Suspects, nowhere

_FOR_METADATA = 2.0
"""Seconds that the broker gets to name the partitions of a topic."""


class Placing:
    """Of one publisher."""

    def __init__(self, suspects: Suspects, max_message_bytes: int) -> None:
        self._suspects = suspects
        self._most = max_message_bytes
        # A character is four bytes at most, and a key is in the headers two or three times.
        self._surely_fits = max_message_bytes // 4 - 4096

    async def grouped(
        self,
        producer: AIOKafkaProducer,
        messages: Sequence[Outgoing],
        held: Collection[TopicPartition],
        outcome: Outcome,
    ) -> dict[TopicPartition, list[Outgoing]]:
        """Messages by partition, in their order; those that are too large are refused."""
        partitions = {
            topic: await self._partitions(producer, topic, held)
            for topic in {message.topic for message in messages}
        }
        groups: dict[TopicPartition, list[Outgoing]] = defaultdict(list)
        for message in messages:
            if len(message.payload) + 4 * len(message.key) > self._surely_fits:
                size = _bytes_of(message)
                if size > self._most:
                    reason = f"{size} bytes are more than MAX_MESSAGE_BYTES, {self._most}"
                    outcome.refused.append((message, reason))
                    continue
            every = partitions[message.topic]
            partition = every[hash_of(message.key) % len(every)]
            groups[TopicPartition(message.topic, partition)].append(message)
        return groups

    async def _partitions(
        self, producer: AIOKafkaProducer, topic: str, held: Collection[TopicPartition]
    ) -> list[int]:
        known = producer.client.cluster.partitions_for_topic(topic)
        place = nowhere(topic)
        if not known and place not in held and self._suspects.due([place]):
            try:
                async with asyncio.timeout(_FOR_METADATA):
                    known = await producer.partitions_for(topic)
            except (KafkaError, TimeoutError):
                known = None
        return sorted(known) if known else [NO_PARTITION]


def _bytes_of(message: Outgoing) -> int:
    """Of the record, at most a few bytes less than on the wire."""
    headers = sum(len(name) + len(value) + 4 for name, value in message.kafka_headers())
    return len(message.payload.encode()) + len(message.key.encode()) + headers + 32
