"""Webhooks on their way: signed when sent, at least once, with back-off, across restarts.

A delivery is a row until its endpoint has answered 2xx. Endpoints do not wait for each other:
each has its own number of deliveries at once.
"""

import asyncio
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

import aiohttp
import orjson

from deploy.local.stripe_standin import events
from deploy.local.stripe_standin.errors import Json
from deploy.local.stripe_standin.session import Session
from deploy.local.stripe_standin.settings import Settings

T = TypeVar("T")


class Runner(Protocol):
    """Runs a unit of work in a transaction."""

    def __call__(self, work: Callable[[Session], T]) -> Awaitable[T]: ...


@dataclass(frozen=True, slots=True)
class _Delivery:
    seq: int
    attempts: int
    endpoint: str
    url: str
    secret: str
    body: bytes


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The Stripe-Signature header of a body sent at `timestamp` (Unix seconds)."""
    payload = f"{timestamp}.".encode() + body
    digest = hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


class Dispatcher:
    """Sends what is due. `run` is a task of the server; `wake` says that there may be more."""

    def __init__(self, settings: Settings, run_in_session: Runner) -> None:
        self._settings = settings
        self._run = run_in_session
        self._woken = asyncio.Event()
        self._busy: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()

    def wake(self) -> None:
        """Look for deliveries now."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled. Raises what the database raises; may be run again then."""
        self._busy.clear()
        await self._run(_resume)
        timeout = aiohttp.ClientTimeout(total=self._settings.standin_webhook_timeout)
        connector = aiohttp.TCPConnector(limit=0)  # each endpoint has its own limit
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            asyncio.TaskGroup() as sending,
        ):
            while True:
                self._woken.clear()
                claimed, next_due = await self._run(self._claim)
                for delivery in claimed:
                    self._busy[delivery.endpoint] += 1
                    sending.create_task(self._deliver(http, delivery))
                pause = None if next_due is None else max(0.0, next_due - time.time())
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), pause)

    def _claim(self, session: Session) -> tuple[list[_Delivery], float | None]:
        """What to send now, and when the next is due to an endpoint that can take more."""
        claimed: list[_Delivery] = []
        next_due: float | None = None
        for endpoint in _enabled_endpoints(session):
            id_ = endpoint["id"]
            free = self._settings.standin_webhook_concurrency - self._busy[id_]
            rows = session.db.execute(
                """
                SELECT d.seq, d.attempts, e.body FROM deliveries d JOIN events e ON e.seq = d.event
                WHERE d.endpoint = ? AND d.state = 'due' AND d.due <= ?
                ORDER BY d.due LIMIT ?
                """,
                (id_, session.time, free),
            ).fetchall()
            session.db.executemany(
                "UPDATE deliveries SET state = 'sending' WHERE seq = ?", [(row[0],) for row in rows]
            )
            claimed += [
                _Delivery(
                    seq,
                    attempts,
                    id_,
                    endpoint["url"],
                    endpoint["secret"],
                    orjson.dumps(events.render(session, body)),
                )
                for seq, attempts, body in rows
            ]
            if len(rows) < free:  # a full endpoint wakes us when it has answered
                (due,) = session.db.execute(
                    "SELECT min(due) FROM deliveries WHERE endpoint = ? AND state = 'due'", (id_,)
                ).fetchone()
                next_due = min((d for d in (next_due, due) if d is not None), default=None)
        return claimed, next_due

    async def _deliver(self, http: aiohttp.ClientSession, delivery: _Delivery) -> None:
        try:
            if await self._answered(http, delivery):
                self.attempts["delivered"] += 1
                await self._run(lambda session: _delivered(session, delivery.seq))
            else:
                self.attempts["failed"] += 1
                await self._run(lambda session: self._retry_later(session, delivery))
        finally:
            self._busy[delivery.endpoint] -= 1
            self.wake()

    async def _answered(self, http: aiohttp.ClientSession, delivery: _Delivery) -> bool:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(delivery.body, delivery.secret, int(time.time())),
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        try:
            async with http.post(
                delivery.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                return 200 <= response.status < 300
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _retry_later(self, session: Session, delivery: _Delivery) -> None:
        settings = self._settings
        growth = min(delivery.attempts, 30)  # beyond, the limit has long been reached
        pause = min(
            settings.standin_webhook_backoff * 2**growth, settings.standin_webhook_backoff_limit
        )
        # Half of the pause is chance, so that a recovered endpoint is not hit by all at once.
        due = session.time + pause * (0.5 + session.random.random() / 2)
        session.db.execute(
            """
            UPDATE deliveries
            SET attempts = attempts + 1, due = :due,
                state = CASE WHEN (SELECT created FROM events WHERE seq = event) < :oldest
                        THEN 'failed' ELSE 'due' END
            WHERE seq = :seq
            """,
            {
                "due": due,
                "oldest": session.time - settings.standin_webhook_give_up,
                "seq": delivery.seq,
            },
        )


def counts(session: Session) -> dict[str, int]:
    """How many deliveries there are, by state."""
    rows = session.db.execute("SELECT state, count(*) FROM deliveries GROUP BY state")
    return {"due": 0, "sending": 0, "held": 0, "dropped": 0, "failed": 0, **dict(rows.fetchall())}


def release(session: Session) -> int:
    """Send what is held; how many."""
    session.emitted = True
    return session.db.execute(
        "UPDATE deliveries SET state = 'due', due = ? WHERE state = 'held'", (session.time,)
    ).rowcount


def resend(session: Session, event_id: str) -> int:
    """Send an event again, to everyone who wants it; to how many."""
    row = session.db.execute("SELECT seq, type FROM events WHERE id = ?", (event_id,)).fetchone()
    if not row:
        events.get(session, event_id, {})  # raises the 404
    seq, type_ = row
    wanting = events.subscribers(session, type_)
    for endpoint in wanting:
        owed = session.db.execute(
            """
            UPDATE deliveries SET state = 'due', due = ?
            WHERE event = ? AND endpoint = ? AND copy = 0 AND state <> 'sending'
            """,
            (session.time, seq, endpoint),
        ).rowcount
        if not owed:
            session.db.execute(
                """
                INSERT INTO deliveries (event, endpoint, state, due, copy)
                VALUES (?, ?, 'due', ?, 1)
                """,
                (seq, endpoint, session.time),
            )
    session.emitted = True
    return len(wanting)


def _resume(session: Session) -> None:
    """What was being sent when the process died is due: nobody knows whether it arrived."""
    session.db.execute("UPDATE deliveries SET state = 'due' WHERE state = 'sending'")
    # The back-off belonged to the past; after a restart everything is tried at once.
    session.db.execute(
        "UPDATE deliveries SET due = ? WHERE state = 'due' AND attempts > 0", (session.time,)
    )


def _delivered(session: Session, seq: int) -> None:
    session.db.execute("DELETE FROM deliveries WHERE seq = ?", (seq,))


def _enabled_endpoints(session: Session) -> list[Json]:
    rows = session.db.execute("SELECT body FROM objects WHERE kind = 'webhook_endpoint'")
    endpoints = [orjson.loads(body) for (body,) in rows.fetchall()]
    return [endpoint for endpoint in endpoints if endpoint["status"] == "enabled"]
