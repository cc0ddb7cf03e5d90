"""How far consumer groups are behind their topics, as the broker says: whether they run or not."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

_PATIENCE = 5.0
_LARGEST_BATCH = 300 * 1024  # of the kit's own publisher, with room


class Lag(NamedTuple):
    """Records of a topic that a group has not acknowledged yet, and the age of the oldest."""

    group: str
    topic: str
    records: int
    seconds: float = 0.0


async def group_lags(
    bootstrap_servers: str, groups: Iterable[str], *, with_age: bool = True
) -> list[Lag]:
    """Of each group and each topic that it has acknowledged something of; a partition of such a
    topic that it has not acknowledged anything of waits from its first record on.

    `with_age` reads one record of each partition that is behind; what cannot be read within some
    seconds counts as new.

    Raises:
        KafkaError: the broker cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # where the record has expired meanwhile
        max_partition_fetch_bytes=_LARGEST_BATCH,
    )
    lags: list[Lag] = []
    try:
        await admin.start()
        await consumer.start()
        for group in groups:
            offsets = await admin.list_consumer_group_offsets(group)
            places = await _partitions(admin, {place.topic for place in offsets})
            ends = await consumer.end_offsets(places)
            reached: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
            reached |= {place: offsets[place].offset for place in places if place in offsets}
            behind = {place: at for place, at in reached.items() if at < ends[place]}
            written = await _written_at(consumer, behind) if behind and with_age else {}
            lags += _by_topic(group, reached, ends, written)
    finally:
        await consumer.stop()
        await admin.close()
    return sorted(lags)


async def _partitions(admin: AIOKafkaAdminClient, topics: Collection[str]) -> list[TopicPartition]:
    described = await admin.describe_topics(list(topics)) if topics else []
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    ]


def _by_topic(
    group: str,
    reached: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    written: Mapping[TopicPartition, float],
) -> list[Lag]:
    records: dict[str, int] = defaultdict(int)
    oldest: dict[str, float] = defaultdict(float)
    now = time.time()
    for place, at in reached.items():
        records[place.topic] += max(0, ends[place] - at)
        age = max(0.0, now - written.get(place, now))
        oldest[place.topic] = max(oldest[place.topic], age)
    return [Lag(group, topic, count, oldest[topic]) for topic, count in records.items()]


async def _written_at(
    consumer: AIOKafkaConsumer, places: Mapping[TopicPartition, int]
) -> dict[TopicPartition, float]:
    """When the records at these offsets were written, of those that came in time."""
    consumer.assign(list(places))
    for place, offset in places.items():
        consumer.seek(place, offset)
    found: dict[TopicPartition, float] = {}
    until = time.monotonic() + _PATIENCE
    while len(found) < len(places) and time.monotonic() < until:
        missing = [place for place in places if place not in found]
        for place, records in (await consumer.getmany(*missing, timeout_ms=200)).items():
            found[place] = records[0].timestamp / 1000
            consumer.pause(place)  # one is enough; the others would be fetched meanwhile
        await asyncio.sleep(0)
    return found
