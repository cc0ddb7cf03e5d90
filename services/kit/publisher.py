"""Hands messages to Kafka and waits for its acknowledgement (acks=all, idempotent producer).

An aiokafka producer that met a sequence error never works again, so after a failure the producer
is replaced by a fresh one, unless it is only slow: it has acknowledged something to somebody
meanwhile. Nothing else in the service needs to know.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from contracts.message import Message
from services.kit import trace
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.partitioner import hash_of
from services.kit.telemetry import PUBLISH_FAILURES, PUBLISHED

_REQUEST_TIMEOUT = 10.0
_FEW = 8  # up to here `send` shares batches with others; above, batches of our own cost a third


class Publisher:
    """One producer, replaced when it fails. Safe to use from many tasks."""

    def __init__(self, bootstrap_servers: str, source: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._acknowledged_at = 0.0
        self._closing: set[asyncio.Task[None]] = set()

    async def send(self, message: Message, *, message_id: UUID | None = None) -> None:
        """Publish one message outside any transaction.

        Raises:
            BrokerUnavailable: Kafka did not acknowledge; the message may be there or not.
        """
        outgoing = Outgoing.of(
            message,
            source=self._source,
            time=datetime.now(UTC).isoformat(),
            message_id=message_id,
            traceparent=trace.current() or trace.new_traceparent(),
        )
        await self.publish([outgoing], within=4.0)

    async def publish(
        self, messages: Sequence[Outgoing], *, within: float = _REQUEST_TIMEOUT
    ) -> None:
        """Publish messages; those of one topic and key in the order given.

        Raises:
            BrokerUnavailable: Kafka did not acknowledge all `within` that many seconds.
        """
        began = time.monotonic()
        producer: Any = self._producer
        try:
            async with asyncio.timeout(within):
                # Shielded: it serves whoever comes next, however little time this caller has.
                producer = producer or await asyncio.shield(self._started())
                if len(messages) <= _FEW:
                    waiting = [
                        await producer.send(
                            message.topic,
                            key=message.key.encode(),
                            value=message.payload.encode(),
                            headers=message.kafka_headers(),
                        )
                        for message in messages
                    ]
                else:
                    waiting = await self._send_batches(producer, messages)
                # Shielded: a cancelled caller must not cancel what aiokafka still works on.
                await asyncio.shield(asyncio.gather(*waiting))
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            PUBLISH_FAILURES.inc()
            slow = isinstance(error, TimeoutError) and self._acknowledged_at > began
            if not slow:
                self._replace(producer)
            raise BrokerUnavailable(f"Kafka did not acknowledge: {error!r}") from error
        self._acknowledged_at = time.monotonic()
        PUBLISHED.inc(len(messages))

    async def _send_batches(
        self, producer: AIOKafkaProducer, messages: Sequence[Outgoing]
    ) -> list[asyncio.Future[Any]]:
        partitions = {
            topic: sorted(await producer.partitions_for(topic))
            for topic in {message.topic for message in messages}
        }

        placed: dict[tuple[str, int], list[Outgoing]] = defaultdict(list)
        for message in messages:
            every = partitions[message.topic]
            placed[message.topic, every[hash_of(message.key) % len(every)]].append(message)
        waiting = []
        for (topic, partition), group in placed.items():
            batch = producer.create_batch()
            for message in group:
                if not _append(batch, message):  # full
                    waiting.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    _append(batch, message)
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
        return waiting

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap_servers,
                    client_id=self._source,
                    enable_idempotence=True,
                    acks="all",
                    request_timeout_ms=int(_REQUEST_TIMEOUT * 1000),
                    max_batch_size=256 * 1024,
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    def _replace(self, broken: AIOKafkaProducer | None) -> None:
        # Many hear late that one producer failed: its successor must not pay for that.
        if broken is self._producer and broken is not None:
            self._producer = None
            # Closing waits for what is in flight; nobody has to wait for that.
            task = asyncio.create_task(broken.stop())
            self._closing.add(task)
            task.add_done_callback(self._closed)

    def _closed(self, task: "asyncio.Task[None]") -> None:
        self._closing.discard(task)
        if not task.cancelled():
            task.exception()  # a broken producer may well fail to close

    async def stop(self) -> None:
        """Close; what is in flight gets a moment to be acknowledged."""
        self._replace(self._producer)
        if self._closing:
            _, pending = await asyncio.wait(self._closing, timeout=5.0)
            for task in pending:
                task.cancel()


def _append(batch: BatchBuilder, message: Outgoing) -> bool:
    appended = batch.append(
        timestamp=None,
        key=message.key.encode(),
        value=message.payload.encode(),
        headers=message.kafka_headers(),
    )
    return appended is not None
