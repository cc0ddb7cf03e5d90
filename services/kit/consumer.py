"""Takes batches of records from Kafka, on FastStream's broker, and acknowledges them.

FastStream and aiokafka by default acknowledge too early, decode in a way that loses a batch for one
bad record, and let a rebalance overtake a batch in hand. Here the kit decides: records come raw,
offsets are committed only for what is settled, and a rebalance waits for the batch in hand.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from contracts.topics import Topic
from services.kit import trace
from services.kit.ailment import Ailment
from services.kit.member import Batch, join, leave
from services.kit.messages import Record
from services.kit.offsets import Offsets
from services.kit.pace import Pace
from services.kit.processor import Abandoned, BatchProcessor
from services.kit.progress import Progress
from services.kit.settings import ServiceSettings
from services.kit.telemetry import BATCH_SECONDS, BATCH_SIZE, JOINED, REJOINS, STALLED, log
from services.kit.undone import Undone

_COMMIT_EVERY = 1.0
_LAG_EVERY = 2.0
_PATIENCE_AT_STOP = 10.0


class Consumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """The consumer group member of one service process."""

    def __init__(
        self,
        name: str,
        topics: Sequence[Topic],
        settings: ServiceSettings,
        processor: BatchProcessor,
        tracing: trace.Tracing,
        undone: Undone,
        mark: Callable[[], Awaitable[str]],
    ) -> None:
        self._name = name
        self._topics = [topic.name for topic in topics]
        self._processor = processor
        self._tracing = tracing
        self._undone = undone
        self._stalled_after = settings.stalled_after_seconds
        self._batch = asyncio.Lock()
        self._revoking = False
        self._stopping = False
        self._offsets = Offsets(mark)
        self._in_hand: Sequence[ConsumerRecord[bytes, bytes]] = ()
        self._progress = Progress(self._topics)
        self._joined = False
        self._ailment = Ailment(settings, self._offsets)
        self._pace = Pace(settings.batch_size)
        self._member = partial(join, name, topics, settings, self._take, self)
        self._broker, self._subscriber = self._member()

    async def start(self) -> None:
        """Join the group.

        Raises:
            KafkaError: the broker cannot be reached.
        """
        try:
            await self._broker.start()
        except BaseException:
            await self._broker.stop()
            raise

    async def stop(self) -> None:
        """Finish the batch in hand, acknowledge, leave the group."""
        self._stopping = True
        try:
            async with asyncio.timeout(_PATIENCE_AT_STOP), self._batch:
                await self._offsets.commit(self._consumer)
        except TimeoutError:
            log.warning("the batch in hand did not finish; it will come again")
        await leave(self._broker, self._subscriber)

    @property
    def _consumer(self) -> AIOKafkaConsumer | None:
        return self._subscriber.consumer

    async def _take(self, records: Batch) -> None:
        """Settle one batch. FastStream calls this for one batch after the other."""
        async with self._batch:
            if self._stopping:
                return
            started = time.perf_counter()
            self._in_hand = records
            batch = [Record.of(record) for record in records if not self._undone.covers(record)]
            self._offsets.taken(records)
            try:
                with self._tracing.batch(f"{self._name} batch", _traceparents(batch)):
                    await self._process(batch)
            except Abandoned:
                # The rebalance resets positions to the committed offsets; nothing is skipped.
                return
            finally:
                self._in_hand = ()
            self._offsets.settled(records)
            self._progress.made()
            finished = time.perf_counter()
            BATCH_SIZE.observe(len(records))
            BATCH_SECONDS.observe(finished - started)
            log.debug("batch settled", records=len(records), seconds=round(finished - started, 4))
            rest = self._pace.rest_after(len(records), started, finished)
        await asyncio.sleep(rest)

    async def _process(self, batch: Sequence[Record]) -> None:
        """Not even a defect of the kit may lose a batch: FastStream would go on to the next one,
        and its offsets would cover this one's."""
        while True:
            try:
                return await self._processor.process(batch)
            except Abandoned:
                raise
            except Exception:
                log.exception("the batch cannot be processed; trying again")
                await asyncio.sleep(1)
                if not self.keep_trying():
                    raise Abandoned from None

    def keep_trying(self) -> bool:
        """Whether a batch that waits for infrastructure is still ours to settle."""
        return not (self._revoking or self._stopping)

    # -- rebalancing ---------------------------------------------------------------------------

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        async with self._giving_up_the_batch():
            self._offsets.forget()

    @asynccontextmanager
    async def _giving_up_the_batch(self) -> AsyncIterator[None]:
        """No batch is in hand within, and what is settled is acknowledged, if that can be done."""
        self._revoking = True
        try:
            async with self._batch:
                await self._offsets.commit(self._consumer)
                yield
        finally:
            self._revoking = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._joined = True
        self._progress.made()

    # -- acknowledging -------------------------------------------------------------------------

    async def commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(_COMMIT_EVERY)
            await self._offsets.commit(self._consumer)

    # -- health --------------------------------------------------------------------------------

    async def look_after(self) -> None:
        """Measure the lag, and join anew when the client ails."""
        while True:
            await asyncio.sleep(_LAG_EVERY)
            try:
                async with asyncio.timeout(_LAG_EVERY):
                    await self._measure_lag()
                self._ailment.answered()
            except IllegalStateError as error:  # a rebalance goes on
                log.debug("lag unknown", error=repr(error))
            except (KafkaError, OSError) as error:
                self._ailment.unanswered(error)
            JOINED.set(self.ready and not self.broker_away)
            STALLED.set(self.stalled_for())
            idle_for = 0.0 if self._batch.locked() else self.stalled_for()
            if not self._stopping and (why := await self._ailment.found(idle_for)):
                await self._join_anew(why)

    async def _join_anew(self, why: str) -> None:
        log.warning("joining the group anew", why=why)
        REJOINS.inc()
        self._joined = False
        async with self._giving_up_the_batch():
            await leave(self._broker, self._subscriber)
            self._offsets.forget()
            self._broker, self._subscriber = self._member()
        try:
            await self.start()
        except (KafkaError, OSError) as error:
            log.warning("cannot join the group", error=repr(error))
            self._ailment.replaced(in_vain=True)
        else:
            self._ailment.replaced()

    async def _measure_lag(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        now = time.time()
        assigned = consumer.assignment()
        ends: dict[TopicPartition, int] = await consumer.end_offsets(assigned) if assigned else {}
        reached = {place: await self._offsets.reached(consumer, place) for place in ends}
        self._progress.measure(ends, reached, self._in_hand, now)

    @property
    def broker_away(self) -> bool:
        """Whether the broker does not answer this process."""
        return self._ailment.broker_away

    @property
    def ready(self) -> bool:
        return self._joined and not self._stopping

    @property
    def caught_up(self) -> bool:
        return self._progress.caught_up

    def stalled_for(self) -> float:
        """Seconds without progress while there is work; 0.0 when idle or waiting for others."""
        if self._processor.waiting_for_infrastructure:
            return 0.0
        return self._progress.missing_for()

    @property
    def stalled(self) -> bool:
        return self.stalled_for() > self._stalled_after


def _traceparents(batch: Sequence[Record]) -> Iterator[str]:
    return (
        value.decode("ascii", "replace")
        for record in batch
        for name, value in record.headers
        if name == "traceparent" and value
    )
