"""The SQLite file: its tables, and the one thread that reads and writes it.

Jobs that wait together share one commit, and nobody hears of a result before it is committed.
That is what makes a few thousand durable writes a second possible, and what `kill -9` cannot
take back. Jobs run one after another, so they need no locks of their own.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

# Enough to make the commit's share small; few enough to answer within milliseconds.
_JOBS_PER_COMMIT = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    kind        TEXT NOT NULL,
    created     INTEGER NOT NULL,
    status      TEXT,
    intent      TEXT,
    charge      TEXT,
    order_id    TEXT,
    test_method TEXT,
    body        TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS objects_by_age ON objects (kind, created, seq);
CREATE INDEX IF NOT EXISTS objects_by_intent
    ON objects (intent, kind, created, seq) WHERE intent IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_charge
    ON objects (charge, kind, created, seq) WHERE charge IS NOT NULL;
CREATE INDEX IF NOT EXISTS objects_by_order
    ON objects (order_id, kind, created, seq) WHERE order_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS finished_intents
    ON objects (seq) WHERE kind = 'payment_intent' AND status IN ('succeeded', 'canceled');

CREATE TABLE IF NOT EXISTS events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,
    type    TEXT NOT NULL,
    created INTEGER NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_age ON events (created, seq);
CREATE INDEX IF NOT EXISTS events_by_type ON events (type, created, seq);

-- A row is there until its endpoint has answered 2xx. A copy is a delivery beyond the first,
-- and does not count as one that is still owed.
CREATE TABLE IF NOT EXISTS deliveries (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    event    INTEGER NOT NULL REFERENCES events (seq),
    endpoint TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('due', 'sending', 'held', 'dropped', 'failed')),
    due      REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    copy     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (endpoint, state, due);
CREATE INDEX IF NOT EXISTS deliveries_by_event ON deliveries (event);

CREATE TABLE IF NOT EXISTS idempotency_keys (
    key         TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    status      INTEGER NOT NULL,
    body        BLOB NOT NULL,
    request_id  TEXT NOT NULL,
    created     REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_keys_by_age ON idempotency_keys (created);

CREATE TABLE IF NOT EXISTS timers (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    due     REAL NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS timers_due ON timers (due);
"""


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Database:
    """Runs jobs on the file. Made within a running event loop, and used from that loop alone.

    Raises RuntimeError when another process has the file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._connection = _connect(path)
        self._thread = threading.Thread(target=self._work, name="database", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returns, once it is committed. What it raises rolls back its changes."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """Finish the jobs that were given and close the file."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        closing = False
        while not closing:
            jobs: list[_Job] = []
            first = self._queue.get()
            try:
                while first is not None:
                    jobs.append(first)
                    if len(jobs) == _JOBS_PER_COMMIT:
                        break
                    first = self._queue.get_nowait()
                closing = first is None
            except Empty:
                pass
            if jobs:
                self._commit_together(jobs)
                self._loop.call_soon_threadsafe(_resolve, jobs)
        self._connection.close()

    def _commit_together(self, jobs: list[_Job]) -> None:
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            for job in jobs:
                execute("SAVEPOINT job")
                try:
                    job.result = job.work(self._connection)
                except Exception as error:
                    job.error = error
                    execute("ROLLBACK TO job")
                execute("RELEASE job")
            execute("COMMIT")
        except sqlite3.Error as error:  # disk full, file damaged: nobody's work is saved
            if self._connection.in_transaction:
                execute("ROLLBACK")
            for job in jobs:
                job.error = error


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # its request was cancelled meanwhile
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0.5, isolation_level=None, check_same_thread=False)
    try:
        # Exclusive: two stand-ins on one file would both deliver its webhooks.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        # WAL with NORMAL loses nothing when the process dies; only a power cut can.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -16384")  # KiB, so 16 MiB
        connection.executescript(_SCHEMA)
    except sqlite3.OperationalError as error:
        connection.close()
        raise RuntimeError(
            f"Cannot open {path}: {error}. If another stand-in is using it, stop that one or set "
            "STANDIN_DATABASE to another file."
        ) from error
    return connection
