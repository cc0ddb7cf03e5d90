"""The outbox: what a transaction decided to send, kept until Kafka has acknowledged it.

One row per transaction, written in it. The process that commits a row publishes it at once; a row
that is older than its lease was left by a crash, and the sweeper of any replica publishes it. A row
is deleted only after Kafka's acknowledgement, so deleting needs no guard: it is right in whichever
process it happens. A message published twice carries the same id.

A partition that takes nothing delays its own messages only. A row that was acknowledged in part is
reduced to what is left, and is *held for* these partitions. While a row is held for a partition,
later messages of that partition stay in their rows, too, so that a key keeps its order;
`retry_held` publishes them, the oldest first. A message that Kafka will never take is set aside as
a dead letter (`unpublishable.py`).
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg
from aiokafka import TopicPartition

from contracts.message import new_message_id
from services.kit import outbox_rows, unpublishable
from services.kit.crash import crash_point
from services.kit.db import Connection, Pool
from services.kit.errors import BrokerUnavailable, is_infrastructure
from services.kit.messages import Outgoing
from services.kit.outbox_rows import Attempt, Row
from services.kit.outcome import Outcome
from services.kit.producer import REQUEST_TIMEOUT
from services.kit.publisher import Publisher
from services.kit.telemetry import OUTBOX_AGE, OUTBOX_HELD_FOR, PUBLISH_SECONDS, SWEPT, log

_LAST_ROUNDS: Final = 5
"""Two end what is held: one publishes it, one sees that nothing is left. By number, not by time: on
a slow machine the second must not be cut off, or the partition would never be released."""


class Outbox:
    def __init__(self, pool: Pool, publisher: Publisher, lease: timedelta) -> None:
        self._pool = pool
        self._publisher = publisher
        self._lease = lease
        self._acknowledged: list[UUID] = []
        self._open: list[Attempt] = []
        """Attempts that go on, or whose remainder is not in the database yet."""
        self._waiting: set[UUID] = set()
        """Rows whose turn to be published has not come."""
        self._stored: frozenset[TopicPartition] = frozenset()
        """What rows of the database are held for, at the last look."""
        self._writing = asyncio.Lock()
        self._gate = asyncio.Event()
        self._gate.set()
        self._broker_away = False

    async def save(self, db: Connection, messages: Sequence[Outgoing]) -> UUID:
        """Write a row inside the caller's transaction; returns its id."""
        row_id = new_message_id()
        await outbox_rows.insert(db, row_id, messages)
        return row_id

    @contextmanager
    def waiting(self, row_id: UUID) -> Iterator[None]:
        """While a committed row waits for its turn: no sweep of this process takes it."""
        self._waiting.add(row_id)
        try:
            yield
        finally:
            self._waiting.discard(row_id)

    async def publish(self, row_id: UUID, messages: Sequence[Outgoing]) -> None:
        """Publish a row that is committed. Never raises: what fails is left to the sweeper."""
        try:
            with PUBLISH_SECONDS.time():
                if not self._gate.is_set():
                    with self.waiting(row_id):
                        await self._gate.wait()
                await self._try([Row(row_id, messages)])
        except BrokerUnavailable as error:
            if not self._broker_away:
                log.warning("publishing failed, the outbox keeps it", error=str(error))
            self._broker_away = True
            return
        self._broker_away = False

    async def _try(
        self, rows: Sequence[Row], due: frozenset[TopicPartition] = frozenset()
    ) -> Outcome:
        """Publish rows, also to the partitions in `due` that rows are held for."""
        held = self._held() - due
        attempt = Attempt(rows)
        # From here on, what this attempt leaves behind counts as held.
        self._open.append(attempt)
        try:
            messages = [message for row in rows for message in row.messages]
            await self._publisher.attempt(messages, attempt.outcome, held=held)
        except BaseException:
            self._open.remove(attempt)
            raise
        if attempt.outcome.count:
            attempt.finished = True
        else:
            self._open.remove(attempt)
            self._acknowledged.extend(row.id for row in rows)
        return attempt.outcome

    def _held(self) -> frozenset[TopicPartition]:
        """The partitions whose messages wait behind earlier ones."""
        return self._stored.union(*(attempt.outcome.left for attempt in self._open))

    # -- writing what came of it ---------------------------------------------------------------

    async def forget(self) -> None:
        """Delete acknowledged rows, and reduce others: now and then, so not once per batch."""
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        done, self._acknowledged = self._acknowledged, []
        try:
            if done:
                async with self._pool.acquire() as db:
                    await outbox_rows.delete(db, done)
        except BaseException:
            self._acknowledged.extend(done)
            raise
        await self._reduce([attempt for attempt in self._open if attempt.finished])

    async def _reduce(self, attempts: Sequence[Attempt]) -> None:
        """All in one transaction; each in its own if one of them cannot be written."""
        if not attempts:
            return
        try:
            async with self._pool.acquire() as db, db.transaction():
                await self._write_remainder(db, attempts)
        except Exception as error:
            if is_infrastructure(error):
                raise
            if len(attempts) > 1:
                for attempt in attempts:
                    await self._reduce([attempt])
                return
            # Its rows are whole, and the sweeper's when their lease has run out.
            log.exception("what is left of outbox rows cannot be written")
        else:
            # What counted as held by these attempts is held by their rows now.
            self._stored = self._stored.union(*(attempt.outcome.left for attempt in attempts))
        for attempt in attempts:
            self._open.remove(attempt)

    async def _write_remainder(self, db: Connection, attempts: Sequence[Attempt]) -> None:
        reduced = [row for attempt in attempts for row in attempt.reduced()]
        tried = {row.id for attempt in attempts for row in attempt.rows}
        await outbox_rows.delete(db, list(tried - {row.id for row in reduced}))
        await outbox_rows.reduce(db, reduced)
        refused = [each for attempt in attempts for each in attempt.outcome.refused]
        if refused:
            letters = await unpublishable.set_aside(db, self._publisher.source, refused)
            if letters:
                await self.save(db, letters)

    # -- sweeping ------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Publish some rows whose lease ran out, those first that were tried least recently; say
        how many rows there were.

        Raises:
            BrokerUnavailable: they are tried again when the sweeper's lease has run out.
        """
        async with self._pool.acquire() as db:
            # What this process has in hand may take longer than the lease.
            in_hand = [row.id for attempt in self._open for row in attempt.rows]
            in_hand += self._waiting
            rows = await outbox_rows.lease_orphans(db, self._lease, but_not=in_hand)
        if rows:
            crash_point("mid-sweep")
            readable = await self._readable(rows)
            outcome = await self._try(readable)
            published = sum(len(row.messages) for row in readable) - outcome.count
            SWEPT.inc(published)
            log.info("outbox swept", rows=len(rows), published=published)
        return len(rows)

    async def retry_held(self) -> None:
        """Publish what is held, as far as its partitions take messages again.

        Raises:
            BrokerUnavailable: no partition takes anything.
        """
        while await self._retry() == outbox_rows.AT_ONCE:
            pass
        # While some rows are published, others are left behind them: the last round is without.
        if self._publisher.due(self._held()):
            with self._others_waiting():
                for _ in range(_LAST_ROUNDS):
                    if not await self._retry():
                        await asyncio.sleep(0.02)  # another replica has them, or they are written
                    if not self._publisher.due(self._held()):
                        break

    async def _retry(self) -> int:
        """Publish some held rows; says how many there were."""
        async with self._writing:
            await self._write()
            await self._look()
        due = frozenset(self._publisher.due(self._stored))
        if not due:
            return 0
        async with self._pool.acquire() as db:
            lease = self._lease + timedelta(seconds=REQUEST_TIMEOUT)
            rows = await outbox_rows.lease_held(db, due, lease)
        if rows:
            await self._try(await self._readable(rows), due)
        return len(rows)

    @contextmanager
    def _others_waiting(self) -> Iterator[None]:
        """No row of this process is given to the publisher within, but those that were held."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    async def look(self) -> None:
        """Learn from the database which partitions its rows are held for."""
        async with self._writing:
            await self._look()

    async def _look(self) -> None:
        async with self._pool.acquire() as db:
            seconds, self._stored = await outbox_rows.look(db)
        OUTBOX_AGE.set(seconds)
        OUTBOX_HELD_FOR.set(len(self._stored))

    async def _readable(self, rows: Sequence[asyncpg.Record]) -> list[Row]:
        """What rows hold. One that cannot be read is kept with the reason, and waits for nobody."""
        found = []
        for row in rows:
            try:
                found.append(Row(row["id"], outbox_rows.from_json(row["messages"])))
            except Exception as error:
                log.exception("an outbox row cannot be read; it is kept", row_id=str(row["id"]))
                async with self._pool.acquire() as db:
                    await outbox_rows.mark_unreadable(db, row["id"], error)
        return found

    async def flush(self) -> None:
        """At stop: give the last acknowledged rows their deletion, if the database is there."""
        try:
            async with asyncio.timeout(2):
                await self.forget()
        except Exception as error:
            log.warning("outbox rows stay for the sweeper", error=str(error))
