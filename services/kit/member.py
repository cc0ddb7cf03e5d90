"""A member of a consumer group, on FastStream's broker, with everything that it decides turned off.

Records come raw and in batches, nothing is acknowledged for us, nothing is decoded for us.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from faststream.kafka.message import FAKE_CONSUMER, KafkaAckableMessage
from faststream.kafka.subscriber.usecase import BatchSubscriber

from contracts.topics import Topic
from services.kit.settings import ServiceSettings
from services.kit.telemetry import log

Batch: TypeAlias = "tuple[ConsumerRecord[bytes, bytes], ...]"

_PATIENCE = 5.0
_LONGEST_POLL_MS = 500


def join(
    group: str,
    topics: Sequence[Topic],
    settings: ServiceSettings,
    take: Callable[[Batch], Awaitable[None]],
    listener: ConsumerRebalanceListener,
) -> tuple[KafkaBroker, BatchSubscriber]:
    """A member that joins when its broker is started; `take` gets one batch after the other."""
    broker = KafkaBroker(
        settings.kafka_bootstrap_servers.split(","),  # FastStream takes text for one server
        client_id=group,
        consumer_only=True,
        allow_auto_create_topics=False,
        apply_types=False,  # else each batch waits for a thread that looks its argument up
        graceful_timeout=1.0,  # the batch in hand has been waited for already
        logger=None,
    )
    subscriber = broker.subscriber(
        *(topic.name for topic in topics),
        batch=True,
        group_id=group,
        group_instance_id=settings.group_instance_id,
        ack_policy=AckPolicy.MANUAL,
        parser=_as_it_came,
        decoder=_as_records,
        listener=listener,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=settings.fetch_max_wait_ms,
        max_partition_fetch_bytes=512 * 1024,
        session_timeout_ms=int(settings.session_timeout_seconds * 1000),
        heartbeat_interval_ms=int(settings.session_timeout_seconds * 1000 / 4),
        # Longer than any batch: a member that is still committing must not be thrown out.
        rebalance_timeout_ms=60_000,
    )
    subscriber.get_msg = partial(_next_batch, most=settings.batch_size)  # type: ignore[method-assign]
    subscriber(take)
    return broker, subscriber


async def _next_batch(consumer: AIOKafkaConsumer, *, most: int) -> Batch:
    """What is there, as soon as anything is; nothing after a while, so that a stop is noticed.
    FastStream's own sleeps after a poll that brought nothing, and a record would wait for that."""
    found = await consumer.getmany(timeout_ms=_LONGEST_POLL_MS, max_records=most)
    return tuple(chain.from_iterable(found.values()))


async def leave(broker: KafkaBroker, subscriber: BatchSubscriber) -> None:
    """Leave the group and close the client, also one of which a part has died."""
    if subscriber.consumer is not None:
        # Closing waits for this task, and it may wait for the coordinator for ever.
        coordination = subscriber.consumer._coordinator._coordination_task
        coordination.cancel()
        await asyncio.wait([coordination])
    try:
        async with asyncio.timeout(_PATIENCE):
            await broker.stop()
    except TimeoutError:
        log.warning("the client does not stop; it is left behind, and takes nothing more")


async def answers(settings: ServiceSettings) -> bool:
    """Whether the broker answers somebody who has just come."""
    client = AIOKafkaClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    try:
        async with asyncio.timeout(_PATIENCE):
            await client.bootstrap()
    except (KafkaError, OSError):
        return False
    finally:
        await client.close()
    return True


async def _as_it_came(records: Batch) -> KafkaMessage:
    return KafkaAckableMessage(body=b"", raw_message=records, message_id="", consumer=FAKE_CONSUMER)


async def _as_records(message: KafkaMessage) -> Batch:
    """The kit decodes by itself, record by record: see `services.kit.messages`."""
    records: Batch = message.raw_message
    return records
