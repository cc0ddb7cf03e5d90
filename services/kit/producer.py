"""One Kafka producer (acks=all, idempotent) that can be replaced while others use it.

An idempotent aiokafka producer never gives up a batch, and never works again after a sequence
error. So a producer that failed is replaced by a fresh one, and closed within a bounded time: what
it still holds is in the outbox, and a late copy must not overtake what the next one publishes.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder

from services.kit.messages import Outgoing

REQUEST_TIMEOUT = 10.0
_TO_FLUSH = 3.0
_BATCH_BYTES = 256 * 1024
_REQUEST_OVERHEAD = 64 * 1024


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
