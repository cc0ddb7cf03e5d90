"""What happens to one batch of records: exactly one effect per message, or a place to park it.

    decode  ->  ONE transaction: inbox, handlers wave by wave, parking, outbox  ->  publish

Infrastructure errors try the same batch again, with growing pauses. Any other error is somebody's
fault: the batch is cut in halves until the culprit stands alone; after a few attempts it is parked
and everything else has gone on.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from contracts.message import Message, sent_at_ms
from contracts.registry import MESSAGES
from services.kit import inbox, parking
from services.kit.crash import crash_point
from services.kit.errors import Expired, Park, Undecodable, is_infrastructure
from services.kit.messages import Incoming, Record, Unreadable, decode
from services.kit.telemetry import CONSUMED, DUPLICATES, INFRASTRUCTURE_RETRIES, log
from services.kit.work import Handler, Several, ToPark, UnitOfWork, Work

Item = Incoming[Any] | Unreadable
Observer = Callable[[Work, Sequence[Item]], Awaitable[None]]
"""Notes what it sees, in a constant number of SQL statements."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Abandoned(Exception):  # noqa: N818
    """The batch was given up before its commit: its partitions now belong to somebody else."""


class BatchProcessor:
    """Turns records into committed effects.

    An `observer` gets what no handler is for: whole batches, without waves, and also what cannot be
    read. It parks nothing, and waits behind nothing that is parked, unless it raises itself.
    `kept_for_ever` names compacted topics: their records are old and still true, and their readers
    tell newer from older by a version. `keep_trying` is asked before each repeat for
    infrastructure's sake; when it says no, the batch is abandoned with nothing committed.
    """

    def __init__(
        self,
        service: str,
        unit_of_work: UnitOfWork,
        handlers: Mapping[type[Message], Handler],
        *,
        attempts: int,
        inbox_retention: timedelta,
        observer: Observer | None = None,
        kept_for_ever: Collection[str] = (),
        keep_trying: Callable[[], bool] = lambda: True,
    ) -> None:
        self._service = service
        self._unit_of_work = unit_of_work
        self._handlers = handlers
        self._observer = observer
        self.accepted: Mapping[str, type[Message]] = (
            {message.wire_type: message for message in handlers} if observer is None else MESSAGES
        )
        """The messages that can be read, by wire name."""
        self._attempts = attempts
        # A day less than what the inbox drops, so that no id is asked for in a dropped partition.
        self._remembered = inbox_retention - timedelta(days=1)
        self._kept_for_ever = frozenset(kept_for_ever)
        self._keep_trying = keep_trying
        self._waits = 0

    @property
    def waiting_for_infrastructure(self) -> bool:
        """Whether the batch in hand waits for its database or the broker right now."""
        return self._waits > 0

    async def process(self, records: Sequence[Record]) -> None:
        """Return when each record had its effect, was skipped as a repeat, or is parked.

        Raises:
            Abandoned: infrastructure is away and `keep_trying` said no.
        """
        await self._settle([decode(record, self.accepted) for record in records])

    def _checked(self, item: Item, oldest: int) -> Item:
        if item.envelope is None or item.record.topic in self._kept_for_ever:
            return item
        if sent_at_ms(item.envelope.id) < oldest:
            error = Expired("older than the inbox remembers; it may have had its effect already")
            return Unreadable(item.record, error, item.envelope, max(1, item.attempts))
        return item

    async def _settle(self, batch: list[Item]) -> None:
        while True:
            try:
                await self._commit_patiently(batch)
                return
            except Abandoned:
                raise
            except Exception as error:
                if len(batch) > 1:
                    break
                batch = [await self._failed(batch[0], error)]
        middle = len(batch) // 2
        await self._settle(batch[:middle])
        await self._settle(batch[middle:])

    async def _commit_patiently(self, batch: list[Item]) -> None:
        """Commit, as often as it takes. Raises what waiting does not mend, and Abandoned."""
        try:
            return await self._commit(batch)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            away = error
        log.warning("batch waits for infrastructure", error=repr(away))
        pause = _FIRST_PAUSE
        with self._waiting():
            while True:
                INFRASTRUCTURE_RETRIES.inc()
                await asyncio.sleep(pause)
                if not self._keep_trying():
                    raise Abandoned from away
                pause = min(pause * 2, _LONGEST_PAUSE)
                try:
                    return await self._commit(batch)
                except Exception as error:
                    if not is_infrastructure(error):
                        raise
                    away = error

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """However the wait ends, nothing is left that says it goes on."""
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1

    async def _failed(self, item: Item, error: Exception) -> Item:
        """A message that failed alone: once more, or it becomes one to park."""
        item.attempts += 1
        if isinstance(item, Unreadable) and not self._is_observed(item):
            log.error("cannot park a record; trying again", key=item.record.key, exc_info=error)
            await asyncio.sleep(1)
            return item
        if item.attempts < self._attempts:
            await asyncio.sleep(0.05 * item.attempts)
            return item
        wire_type = item.envelope.type if item.envelope else None
        log.error("message failed", type=wire_type, key=item.record.key, exc_info=error)
        reason = Park(f"{type(error).__name__}: {error}")
        return Unreadable(item.record, reason, item.envelope, attempts=item.attempts)

    async def _commit(self, batch: list[Item]) -> None:
        async with self._unit_of_work.begin("in turn") as work:
            # By the database's clock: one process with a wrong clock must not set all aside.
            oldest = int((work.now - self._remembered).timestamp() * 1000)
            batch = [self._checked(item, oldest) for item in batch]
            fresh, blocked = await _admit(work, batch)
            if self._observer is not None:
                await self._observer(work, [item for item in fresh if self._is_observed(item)])
            for wave in self._waves([item for item in fresh if not self._is_observed(item)]):
                await self._handle(work, wave, blocked)
            if work.to_park:
                await parking.park(work, self._service)
            crash_point("before-commit")
        for wire_type, count in Counter(
            item.envelope.type for item in fresh if isinstance(item, Incoming)
        ).items():
            CONSUMED.labels(wire_type).inc(count)
        DUPLICATES.inc(len(batch) - len(fresh))

    def _waves(self, items: Sequence[Item]) -> list[list[Item]]:
        """Cut a batch so that a key occurs once per wave and its messages keep their order. Those
        that follow each other and whose handlers take `Several` are one occurrence."""
        waves: list[list[Item]] = []
        reached: dict[str, tuple[int, bool]] = {}
        for item in items:
            level, key = 0, item.record.key
            if key is not None:
                several = isinstance(item, Incoming) and isinstance(self.handler_of(item), Several)
                if before := reached.get(key):
                    level = before[0] + (not (several and before[1]))
                reached[key] = level, several
            if level == len(waves):
                waves.append([])
            waves[level].append(item)
        return waves

    async def _handle(self, work: Work, wave: list[Item], blocked: set[str]) -> None:
        by_handler: dict[Handler, list[Incoming[Any]]] = {}
        for item in wave:
            if item.record.key in blocked:
                work.to_park.append(ToPark(item, "waits behind a parked message", waiting=True))
            elif isinstance(item, Unreadable):
                work.to_park.append(ToPark(item, str(item.error)))
            else:
                by_handler.setdefault(self.handler_of(item), []).append(item)
        for handler, messages in by_handler.items():
            await handler(work, messages)
        blocked.update(entry.item.record.key for entry in work.to_park if entry.item.record.key)

    def handler_of(self, item: Incoming[Any]) -> Handler:
        """What a message is given to."""
        handler = self._handlers.get(type(item.message), self._observer)
        assert handler is not None  # noqa: S101  # what is accepted has one
        return handler

    def _is_observed(self, item: Item) -> bool:
        if self._observer is None:
            return False
        if isinstance(item, Unreadable):
            # Not what the observer itself could not take: that is parked.
            return isinstance(item.error, Undecodable | Expired)
        return type(item.message) not in self._handlers


async def _admit(work: Work, batch: list[Item]) -> tuple[list[Item], set[str]]:
    """Drop repeats. Returns the fresh items, and the keys blocked by a parked message."""
    ids = {message_id for item in batch if (message_id := _id_to_remember(item))}
    keys = {item.record.key for item in batch if item.record.key is not None}
    known, blocked = await inbox.admit(work.db, ids, keys)
    fresh: list[Item] = []
    for item in batch:
        message_id = _id_to_remember(item)
        if message_id is None:
            fresh.append(item)
        elif message_id not in known:
            known.add(message_id)  # a second copy in the same batch is a repeat
            fresh.append(item)
    return fresh, blocked


def _id_to_remember(item: Item) -> UUID | None:
    if item.envelope is None or (isinstance(item, Unreadable) and isinstance(item.error, Expired)):
        return None
    return item.envelope.id
