"""Hands messages to Kafka and waits for its acknowledgement, partition by partition.

    messages  ->  one group per partition  ->  acknowledged | left | refused

A partition that fails while others are acknowledged is a suspect. Nothing is handed to it for a
while, then one attempt at a time goes through a second producer, until one succeeds. So a partition
without a leader, or with too few copies, delays its own messages only.
"""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.message import Message
from services.kit import trace
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.outcome import (
    Outcome,
    UnknownTopicError,
    blames_message,
    blames_partition,
    blames_producer,
    text_of,
)
from services.kit.placing import Placing
from services.kit.producer import (
    ISOLATED_AFTER,
    REQUEST_TIMEOUT,
    Errors,
    Futures,
    Groups,
    Producer,
    hand_over,
    send_batches,
)
from services.kit.settings import MAX_MESSAGE_BYTES
from services.kit.suspects import NO_PARTITION, Suspects, nowhere
from services.kit.telemetry import PUBLISH_FAILURES, PUBLISHED

_FEW = 8  # up to here `send` shares batches with others; above, batches of our own cost a third
_LOOK_EVERY = 0.25


class Publisher:
    """Safe to use from many tasks."""

    def __init__(
        self, bootstrap_servers: str, source: str, max_message_bytes: int = MAX_MESSAGE_BYTES
    ) -> None:
        self.source = source
        self._main = Producer(bootstrap_servers, source, max_message_bytes)
        # Apart: a batch that is repeated for ever delays all partitions of its broker.
        self._second = Producer(bootstrap_servers, f"{source}-second", max_message_bytes)
        self._suspects = Suspects()
        self._placing = Placing(self._suspects, max_message_bytes)
        self._acknowledged_at = 0.0

    async def send(self, message: Message, *, message_id: UUID | None = None) -> None:
        """Publish one message outside any transaction.

        Raises:
            BrokerUnavailable: Kafka did not acknowledge; the message may be there or not.
        """
        outgoing = Outgoing.of(
            message,
            source=self.source,
            time=datetime.now(UTC).isoformat(),
            message_id=message_id,
            traceparent=trace.current() or trace.new_traceparent(),
        )
        await self.publish([outgoing], within=4.0)

    async def publish(
        self, messages: Sequence[Outgoing], *, within: float = REQUEST_TIMEOUT
    ) -> None:
        """Publish messages; those of one topic and key in the order given.

        Raises:
            BrokerUnavailable: Kafka did not acknowledge all `within` that many seconds.
        """
        outcome = Outcome()
        await self.attempt(messages, outcome, within=within)
        if reason := outcome.first_reason():
            raise BrokerUnavailable(f"Kafka did not acknowledge: {reason}")

    async def attempt(
        self,
        messages: Sequence[Outgoing],
        outcome: Outcome,
        *,
        held: Collection[TopicPartition] = (),
        within: float = REQUEST_TIMEOUT,
    ) -> None:
        """Publish what can be published, and note the rest in `outcome`, as soon as it is known.

        Nothing is handed to the partitions in `held`.

        Raises:
            BrokerUnavailable: nothing was acknowledged to anybody `within` that many seconds, so
                that no single partition can be blamed.
        """
        began = time.monotonic()
        main: AIOKafkaProducer | None = self._main.current
        try:
            async with asyncio.timeout(within):
                # Shielded: it serves the next caller, however little time this one has.
                main = main or await asyncio.shield(self._main.started())
                groups = await self._placing.grouped(main, messages, held, outcome)
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            PUBLISH_FAILURES.inc()
            self._main.replace(main)
            raise BrokerUnavailable(f"Kafka did not acknowledge: {error!r}") from error

        direct: list[TopicPartition] = []
        waiting: Futures = {}
        for place in groups:
            suspect = self._suspects.get(place)
            if held and (place in held or nowhere(place.topic) in held):
                outcome.leave(place, groups[place], "earlier messages wait")
            elif suspect is None:
                direct.append(place)
            elif suspect.claim():
                waiting[place] = [asyncio.create_task(self._try_suspect(place, groups[place]))]
            else:
                outcome.leave(place, groups[place], suspect.error)
        errors: Errors = {}
        try:
            few = len(messages) <= _FEW
            await hand_over(main, {place: groups[place] for place in direct}, few, waiting, errors)
            await self._wait_for(waiting, began, within, errors)
        except BaseException:
            _give_up(chain.from_iterable(waiting.values()))
            raise
        await self._judge(groups, waiting.keys(), errors, main, began, outcome)

    def due(self, places: Iterable[TopicPartition]) -> set[TopicPartition]:
        """The partitions that may be tried now."""
        return self._suspects.due(places)

    # -- delivering ----------------------------------------------------------------------------

    async def _try_suspect(self, place: TopicPartition, group: Sequence[Outgoing]) -> None:
        if place.partition == NO_PARTITION:
            raise UnknownTopicError(f"the broker has no topic {place.topic}")
        # What the replaced producer still had in flight must not come after this.
        await self._main.closed(within=REQUEST_TIMEOUT)
        producer = self._second.current or await asyncio.shield(self._second.started())
        await asyncio.gather(*await send_batches(producer, place, group))

    async def _wait_for(
        self, waiting: Futures, began: float, within: float, errors: Errors
    ) -> None:
        """Return when all are acknowledged or failed, or what is left is stuck."""
        futures = list(chain.from_iterable(waiting.values()))
        timeout = min(ISOLATED_AFTER, within)
        pending: set[asyncio.Future[Any]] = set()
        while futures:
            done, pending = await asyncio.wait(futures, timeout=timeout)
            others = any(_succeeded(future) for future in done)
            if others:
                self._acknowledged_at = time.monotonic()
            if not pending:
                break
            elapsed = time.monotonic() - began
            others = others or self._acknowledged_at > began + ISOLATED_AFTER / 2
            if elapsed >= within or (elapsed >= ISOLATED_AFTER and others):
                break
            timeout = min(_LOOK_EVERY, within - elapsed)
        _give_up(pending)
        for place, each in waiting.items():
            for future in each:
                if future in pending or future.cancelled():
                    errors.setdefault(place, TimeoutError())
                elif (error := future.exception()) is not None:
                    errors.setdefault(place, error)

    # -- judging -------------------------------------------------------------------------------

    async def _judge(
        self,
        groups: Groups,
        tried: Collection[TopicPartition],
        errors: Errors,
        main: AIOKafkaProducer,
        began: float,
        outcome: Outcome,
    ) -> None:
        self._suspects.acknowledged(place for place in tried if place not in errors)
        PUBLISHED.inc(sum(len(groups[place]) for place in tried if place not in errors))
        if not errors:
            return
        PUBLISH_FAILURES.inc()
        broken = [place for place, error in errors.items() if blames_producer(error)]
        if any(place in self._suspects for place in broken):
            self._second.replace(self._second.current)
        if any(place not in self._suspects for place in broken):
            self._main.replace(main)
        blamed = len(errors) < len(tried) or self._acknowledged_at > began
        for place, error in errors.items():
            if blames_message(error):
                self._suspects.acknowledged([place])  # it answers
                await self._cut(place, groups[place], error, outcome)
            elif blamed or place in self._suspects or blames_partition(error):
                self._suspects.failed(place, text_of(error))
                outcome.leave(place, groups[place], text_of(error))
            else:
                raise BrokerUnavailable(f"Kafka did not acknowledge: {text_of(error)}") from error

    async def _cut(
        self,
        place: TopicPartition,
        group: Sequence[Outgoing],
        error: BaseException,
        outcome: Outcome,
    ) -> None:
        """Find the messages of a group that Kafka refuses; the others are published."""
        if len(group) == 1:
            outcome.refused.append((group[0], text_of(error)))
            return
        middle = len(group) // 2
        for half in (group[:middle], group[middle:]):
            if place in outcome.left:
                outcome.leave(place, half, "earlier messages wait")
                continue
            try:
                await self.attempt(half, outcome)
            except BrokerUnavailable as away:
                outcome.leave(place, half, str(away))

    async def stop(self) -> None:
        """Close; what is in flight gets a moment to be acknowledged."""
        await asyncio.gather(self._main.stop(), self._second.stop())


def _succeeded(future: asyncio.Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is None


def _give_up(futures: Iterable[asyncio.Future[Any]]) -> None:
    """Wait for these no longer. What aiokafka still works on ends by itself."""
    for future in futures:
        if isinstance(future, asyncio.Task):
            future.cancel()
        future.add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
