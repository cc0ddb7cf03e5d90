"""One Kafka producer (acks=all, idempotent) that can be replaced while others use it.

An idempotent aiokafka producer never gives up a batch, and never works again after a sequence
error. So a producer that failed is replaced by a fresh one, and closed within a bounded time: what
it still holds is in the outbox, and a late copy must not overtake what the next one publishes.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from services.kit.messages import Outgoing
from services.kit.outcome import UnknownTopicError
from services.kit.suspects import NO_PARTITION

REQUEST_TIMEOUT: Final = 10.0
ISOLATED_AFTER: Final = 2.0
"""Seconds after which a partition is to blame, if others are acknowledged meanwhile."""
_TO_FLUSH = 3.0
_BATCH_BYTES = 256 * 1024
_REQUEST_OVERHEAD = 64 * 1024


Groups = Mapping[TopicPartition, Sequence[Outgoing]]
Futures = dict[TopicPartition, list[asyncio.Future[Any]]]
"""What acknowledges the messages of each partition that were handed over."""
Errors = dict[TopicPartition, BaseException]


class Producer:
    """Safe to use from many tasks."""

    def __init__(self, bootstrap_servers: str, client_id: str, max_message_bytes: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._max_message_bytes = max_message_bytes
        self._starting = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self.current: AIOKafkaProducer | None = None

    async def started(self) -> AIOKafkaProducer:
        """The current producer; the first caller after a replacement starts the next one.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        async with self._starting:
            if self.current is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap_servers,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    acks="all",
                    request_timeout_ms=int(REQUEST_TIMEOUT * 1000),
                    max_batch_size=_BATCH_BYTES,
                    max_request_size=self._max_message_bytes + _REQUEST_OVERHEAD,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self.current = producer
            return self.current

    def replace(self, broken: AIOKafkaProducer | None) -> None:
        """Let the next caller start another one, unless that has happened already."""
        # Many callers learn late that one producer failed: its successor must not pay for that.
        if broken is self.current and broken is not None:
            self.current = None
            task = asyncio.create_task(_close(broken))
            self._closing.add(task)
            task.add_done_callback(self._closed)

    def _closed(self, task: "asyncio.Task[None]") -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # a broken producer may well fail to close

    async def closed(self, *, within: float) -> None:
        """Wait until replaced producers are closed, for that many seconds at most."""
        if self._closing:
            await asyncio.wait(self._closing, timeout=within)

    async def stop(self) -> None:
        """Close; what is in flight gets a moment to be acknowledged."""
        self.replace(self.current)
        await self.closed(within=5.0)
        for task in self._closing:
            task.cancel()


async def _close(producer: AIOKafkaProducer) -> None:
    """What is in flight gets a moment; then the sender is ended, which would try for ever."""
    if producer._closed:
        return
    # As its own `stop`, but for the wait until all is acknowledged.
    producer._closed = producer._message_accumulator._closed = True
    with suppress(TimeoutError):
        async with asyncio.timeout(_TO_FLUSH):
            await producer.flush()
    await producer._sender.close()
    await producer.client.close()


async def hand_over(
    producer: AIOKafkaProducer, groups: Groups, few: bool, waiting: Futures, errors: Errors
) -> None:
    """Give groups to the producer, which takes each at once unless its partition is stuck.

    Fills `waiting` for each partition, and `errors` for those that it did not take. `few`: share
    batches with other callers.
    """
    send = send_each if few else send_batches
    unsent = producer._message_accumulator._batches
    # Those that may be stuck come last, and keep nobody waiting.
    left = sorted(groups, key=unsent.__contains__) if unsent else list(groups)
    try:
        async with asyncio.timeout(ISOLATED_AFTER):
            while left:
                place = left[0]
                try:
                    if place.partition == NO_PARTITION:
                        raise UnknownTopicError(f"the broker has no topic {place.topic}")
                    waiting[place] = await send(producer, place, groups[place])
                except KafkaError as error:
                    waiting[place], errors[place] = [], error
                del left[0]
    except TimeoutError as error:
        for place in left:
            waiting[place], errors[place] = [], error


async def send_each(
    producer: AIOKafkaProducer, place: TopicPartition, group: Sequence[Outgoing]
) -> list[asyncio.Future[Any]]:
    return [
        await producer.send(
            place.topic,
            partition=place.partition,
            key=message.key.encode(),
            value=message.payload.encode(),
            headers=message.kafka_headers(),
        )
        for message in group
    ]


async def send_batches(
    producer: AIOKafkaProducer, place: TopicPartition, group: Sequence[Outgoing]
) -> list[asyncio.Future[Any]]:
    waiting: list[asyncio.Future[Any]] = []
    batch = producer.create_batch()
    for message in group:
        if not _append(batch, message):  # full
            waiting.append(await _hand_over(producer, batch, place))
            batch = producer.create_batch()
            _append(batch, message)
    waiting.append(await _hand_over(producer, batch, place))
    return waiting


async def _hand_over(
    producer: AIOKafkaProducer, batch: BatchBuilder, place: TopicPartition
) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = await producer.send_batch(
        batch, place.topic, partition=place.partition
    )
    return future


def _append(batch: BatchBuilder, message: Outgoing) -> bool:
    appended = batch.append(
        timestamp=None,
        key=message.key.encode(),
        value=message.payload.encode(),
        headers=message.kafka_headers(),
    )
    return appended is not None
