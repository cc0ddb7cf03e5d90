"""How far consumer groups are behind their topics, as the broker says."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient


class Lag(NamedTuple):
    """Records of a topic that a group has not acknowledged yet."""

    group: str
    topic: str
    records: int


async def group_lags(bootstrap_servers: str, groups: Iterable[str]) -> list[Lag]:
    """Of each group and each topic that it has acknowledged something of.

    Raises:
        KafkaError: the broker cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers)
    behind: Counter[tuple[str, str]] = Counter()
    try:
        await admin.start()
        await consumer.start()
        for group in groups:
            offsets = await admin.list_consumer_group_offsets(group)
            ends = await consumer.end_offsets(list(offsets))
            for place, acknowledged in offsets.items():
                behind[group, place.topic] += max(0, ends[place] - acknowledged.offset)
    finally:
        await consumer.stop()
        await admin.close()
    return [Lag(*where, records) for where, records in sorted(behind.items())]
