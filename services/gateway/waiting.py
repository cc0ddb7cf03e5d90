"""Waiting for news of an order or a command, without polling and without holding a connection.

The projection announces ids by NOTIFY in the transaction that changes the view. Each process has
one dedicated connection that listens; for the ids that somebody here waits for it reads all the
documents in one statement and hands them out. A new listener is served in the same way, so it
begins with what is known already, and so is everybody after a lost connection.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import asyncpg
from prometheus_client import Gauge

from services.gateway.turns import leave_turn
from services.kit.db import Connection

WAITING = Gauge("orderflow_gateway_waiting", "Requests that wait for news", ["channel"])

Load = Callable[[Connection, Sequence[str]], Awaitable[dict[str, str]]]
"""Reads the documents of the ids given; ids without one are left out."""

_SILENCE_SECONDS = 10.0
"""After this long without news the connection is tried: a cut network says nothing."""


class Listener:
    """What one waiting request hears of. Only the newest document is kept for a slow one."""

    def __init__(self) -> None:
        self._document: str | None = None
        self._news = asyncio.Event()

    async def next(self, seconds: float | None = None) -> str | None:
        """The newest document not handed out yet; None when there was none for `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return None
        self._news.clear()
        return self._document

    def offer(self, document: str) -> None:
        self._document = document
        self._news.set()


class Hub:
    """All who wait in this process, by channel and id."""

    def __init__(self, dsn: str, loads: Mapping[str, Load]) -> None:
        self._dsn = dsn
        self._loads = loads
        self._listeners: dict[str, dict[str, set[Listener]]] = {name: {} for name in loads}
        self._due: dict[str, set[str]] = defaultdict(set)
        self._wake = asyncio.Event()

    @contextmanager
    def listen(self, channel: str, subject: UUID) -> Iterator[Listener]:
        """Hear of `subject` from now on, beginning with the document that is there. Whoever waits
        leaves its turn to others."""
        leave_turn()
        listener, name = Listener(), str(subject)
        listeners = self._listeners[channel].setdefault(name, set())
        listeners.add(listener)
        self._make_due(channel, name)
        WAITING.labels(channel).inc()
        try:
            yield listener
        finally:
            WAITING.labels(channel).dec()
            listeners.discard(listener)
            if not listeners:
                self._listeners[channel].pop(name, None)

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            OSError, asyncpg.PostgresError: the connection is lost; call again.
        """
        db = await asyncpg.connect(
            self._dsn,
            timeout=10,
            command_timeout=10,
            server_settings={"application_name": "gateway-waiting"},
        )
        try:
            db.add_termination_listener(lambda _db: self._wake.set())
            for channel in self._loads:
                await db.add_listener(channel, self._heard)
                # Whatever was announced while nobody listened.
                for name in self._listeners[channel]:
                    self._make_due(channel, name)
            await self._hand_out_until_lost(db)
        finally:
            db.terminate()

    async def _hand_out_until_lost(self, db: Connection) -> None:
        while not db.is_closed():
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                await db.execute("SELECT")
                continue
            self._wake.clear()
            for channel, load in self._loads.items():
                names = self._due.pop(channel, set()) & self._listeners[channel].keys()
                if names:
                    self._hand_out(channel, await load(db, list(names)))
        raise ConnectionResetError("the connection that waits for news was closed")

    def _hand_out(self, channel: str, documents: dict[str, str]) -> None:
        for name, document in documents.items():
            for listener in self._listeners[channel].get(name, ()):
                listener.offer(document)

    def _heard(self, _db: Any, _pid: int, channel: str, payload: object) -> None:
        waited_for = self._listeners[channel]
        for name in str(payload).split(","):
            if name in waited_for:
                self._make_due(channel, name)

    def _make_due(self, channel: str, name: str) -> None:
        self._due[channel].add(name)
        self._wake.set()
