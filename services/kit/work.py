"""A unit of work: one transaction, and what it decided to send.

Everything that changes a service's database goes through here, whether a batch of messages, an
HTTP request or a timer started it: commit, then publish.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from contracts.message import Message
from services.kit import trace
from services.kit.clock import DatabaseClock
from services.kit.crash import crash_point
from services.kit.db import Connection, Pool
from services.kit.messages import Incoming, Outgoing, Unreadable
from services.kit.outbox import Outbox
from services.kit.telemetry import TRANSACTION_SECONDS


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class ToPark:
    """A message that this transaction parks, or queues behind a parked one."""

    item: Incoming[Any] | Unreadable
    reason: str
    waiting: bool = False


class Work:
    """What a handler gets: the open transaction, the time, and the way to send."""

    def __init__(self, db: Connection, source: str, now: datetime | None = None) -> None:
        self.db = db
        self.now = now or utc_now()
        self._time = self.now.isoformat()
        self.outgoing: list[Outgoing] = []
        self.to_park: list[ToPark] = []
        self.callbacks: list[Callable[[], None]] = []
        self._source = source

    def send(
        self,
        message: Message,
        cause: Incoming[Any] | None = None,
        *,
        correlation_id: str | None = None,
        message_id: UUID | None = None,
    ) -> None:
        """Queue a message for the outbox; it is published right after the commit.

        Correlation and trace context come from `cause`; without one, from the request being
        served, or a new trace begins.
        """
        outgoing = Outgoing.of(
            message,
            source=self._source,
            time=self._time,
            message_id=message_id,
            correlation_id=correlation_id,
            cause=cause.envelope if cause else None,
            traceparent=None if cause else trace.current() or trace.new_traceparent(),
        )
        self.outgoing.append(outgoing)

    def park(self, incoming: Incoming[Any], reason: str) -> None:
        """Set a message aside for a person: no retry would help. The others go on."""
        self.to_park.append(ToPark(incoming, reason))

    def after_commit(self, call: Callable[[], None]) -> None:
        """Run `call` once the transaction is committed, e.g. to wake a worker."""
        self.callbacks.append(call)


Handler = Callable[[Work, list[Incoming[Any]]], Awaitable[None]]
"""Handles messages of one wave: every key occurs once, unless it is `Several`. A constant number of
SQL statements."""


class Several:
    """A handler that gets all messages of a key at once, in their order: of a view only the newest
    counts, and a product that everybody buys must not cost a statement per message."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, work: Work, messages: list[Incoming[Any]]) -> None:
        await self._handler(work, messages)


async def ignore(_work: Work, _messages: list[Incoming[Any]]) -> None:
    """The handler of messages that are known and deliberately of no interest."""


_ACQUIRE_SECONDS = 5.0
"""A database that hangs is away: say so soon, and let the caller try again."""

Publish = Literal["now", "later", "in turn"]
"""`now` returns when Kafka has acknowledged or refused; `later` right after the commit. `in turn`
too, but not before what was published in turn last is done: a consumer handles its next batch
meanwhile, and what it sends keeps the order of its batches. Done means acknowledged, or left in the
outbox: a partition that takes nothing holds up a batch for two seconds once, and no later one."""


class UnitOfWork:
    """Begins transactions whose messages are published after commit."""

    def __init__(self, pool: Pool, outbox: Outbox, source: str) -> None:
        self._pool = pool
        self._outbox = outbox
        self._source = source
        self._clock = DatabaseClock()
        self._publishing: set[asyncio.Task[None]] = set()
        self._in_turn: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def begin(self, publish: Publish = "now") -> AsyncIterator[Work]:
        """Commit at exit, roll back on an exception; then publish."""
        with TRANSACTION_SECONDS.time():
            async with self._pool.acquire(timeout=_ACQUIRE_SECONDS) as db:
                now = await self._clock.now(db)
                async with db.transaction():
                    work = Work(db, self._source, now)
                    yield work
                    if work.outgoing:
                        row_id = await self._outbox.save(db, work.outgoing)
        if work.outgoing:
            crash_point("after-commit")
        for call in work.callbacks:
            call()
        if not work.outgoing:
            return
        if publish == "now":
            await self._publish(row_id, work.outgoing)
            return
        if publish == "in turn":
            with self._outbox.waiting(row_id):
                await self._settle(self._in_turn)
        task = asyncio.create_task(self._publish(row_id, work.outgoing))
        if publish == "in turn":
            self._in_turn = {task}
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def _publish(self, row_id: UUID, messages: Sequence[Outgoing]) -> None:
        await self._outbox.publish(row_id, messages)
        crash_point("after-publish")

    @staticmethod
    async def _settle(tasks: set[asyncio.Task[None]]) -> None:
        if tasks:
            await asyncio.wait(tasks)

    async def settle(self) -> None:
        """Wait for what is being published in the background."""
        await self._settle(self._publishing)
