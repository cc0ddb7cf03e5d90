"""One running stand-in: what its parts share, and the tasks that go on in the background."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random
from sqlite3 import Connection
from time import time
from typing import TypeVar

from deploy.local.stripe_standin import endpoints, retention, timers
from deploy.local.stripe_standin.database import Database
from deploy.local.stripe_standin.deliveries import Dispatcher
from deploy.local.stripe_standin.faults import Faults
from deploy.local.stripe_standin.session import Cause, Session
from deploy.local.stripe_standin.settings import Settings

T = TypeVar("T")

log = logging.getLogger(__name__)

_TRIM_SECONDS = 10.0
_PAUSE_AFTER_ERROR = 1.0


class Standin:
    """Owns the database, the faults, the counters and the background work."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        seed = settings.standin_seed or secrets.token_hex(8)
        self._seed = seed
        self.faults = Faults(seed)
        # (operation, outcome): how often
        self.calls: Counter[tuple[str, str]] = Counter()
        self.keys_in_use: set[str] = set()
        self._timer_set = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the file, go on with what was left, and end everything in order."""
        self._database = Database(self.settings.standin_database)
        self.dispatcher = Dispatcher(self.settings, self.run)
        starts = await self._database.run(_count_start)
        # Another series of ids after every start: the file holds the earlier ones.
        self._random = Random(f"{self._seed}:{starts}")  # noqa: S311  reproducible, not secret
        await self.run(endpoints.from_settings)
        tasks = [
            asyncio.create_task(_keep_going(work))
            for work in (self.dispatcher.run, self._watch_timers, self._trim)
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._database.close()

    def new_request_id(self) -> str:
        """An id for one request; it is not part of any object, so chance need not be seeded."""
        return f"req_{secrets.token_hex(7)}"

    async def sleep(self, seconds: float) -> None:
        """Wait, for a fault that delays."""
        if seconds:
            await asyncio.sleep(seconds)

    async def run(self, work: Callable[[Session], T], cause: Cause | None = None) -> T:
        """Do a unit of work in a transaction, and wake whom it concerns."""
        opened: list[Session] = []

        def in_session(db: Connection) -> T:
            session = Session(db, self.settings, self.faults, self._random, cause or Cause())
            opened.append(session)
            return work(session)

        result = await self._database.run(in_session)
        if opened[0].emitted:
            self.dispatcher.wake()
        if opened[0].scheduled:
            self._timer_set.set()
        return result

    async def _watch_timers(self) -> None:
        while True:
            self._timer_set.clear()
            next_due = await self.run(timers.run_due)
            pause = None if next_due is None else max(0.0, next_due - time())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._timer_set.wait(), pause)

    async def _trim(self) -> None:
        while True:
            while await self.run(retention.trim):
                pass
            await asyncio.sleep(_TRIM_SECONDS)


async def _keep_going(work: Callable[[], Awaitable[None]]) -> None:
    """Do endless work, again after an error: a full disk may have room later."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("Background work failed; trying again")
            await asyncio.sleep(_PAUSE_AFTER_ERROR)


def _count_start(db: Connection) -> int:
    """How often the file has been opened, this time included."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    db.execute(f"PRAGMA user_version = {version + 1}")
    return int(version) + 1
