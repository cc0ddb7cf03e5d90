"""The outbox: what a transaction decided to send, kept until Kafka has acknowledged it.

One row per transaction, written in it. Whoever commits a row publishes it at once; a row that is
older than its lease is an orphan of a crash, and the sweeper of any replica publishes it. A row is
deleted only after Kafka's acknowledgement, so deleting needs no guard: it is right whoever does
it. A message published twice carries the same id.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import orjson

from contracts.message import new_message_id
from services.kit.crash import crash_point
from services.kit.db import Connection, Pool
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from services.kit.telemetry import OUTBOX_AGE, PUBLISH_SECONDS, SWEPT, log

_SWEEP_LIMIT = 20


class Outbox:
    def __init__(self, pool: Pool, publisher: Publisher, lease: timedelta) -> None:
        self._pool = pool
        self._publisher = publisher
        self._lease = lease
        self._acknowledged: list[UUID] = []
        self._broker_away = False

    async def save(self, db: Connection, messages: Sequence[Outgoing]) -> UUID:
        """Write a row inside the caller's transaction; returns its id."""
        row_id = new_message_id()
        await db.execute(
            "INSERT INTO outbox (id, messages) VALUES ($1, $2)",
            row_id,
            _to_json(messages),
        )
        return row_id

    async def publish(self, row_id: UUID, messages: Sequence[Outgoing]) -> None:
        """Publish a row that is committed. Never raises: what fails is left to the sweeper."""
        try:
            with PUBLISH_SECONDS.time():
                await self._publisher.publish(messages)
        except BrokerUnavailable as error:
            if not self._broker_away:
                log.warning("publishing failed, the outbox keeps it", error=str(error))
            self._broker_away = True
            return
        self._broker_away = False
        self._acknowledged.append(row_id)

    async def forget(self) -> None:
        """Delete acknowledged rows: called now and then, so not once per batch."""
        done, self._acknowledged = self._acknowledged, []
        if not done:
            return
        try:
            async with self._pool.acquire() as db:
                await db.execute("DELETE FROM outbox WHERE id = ANY($1)", done)
        except BaseException:
            self._acknowledged.extend(done)
            raise

    async def sweep(self) -> int:
        """Publish some rows whose lease ran out, oldest first; say how many rows there were.

        Raises:
            BrokerUnavailable: they are tried again when the sweeper's lease has run out.
        """
        await self._measure_age()
        async with self._pool.acquire() as db:
            rows = await db.fetch(
                """
                UPDATE outbox
                   SET leased_until = now() + $1
                 WHERE id IN (
                       SELECT id FROM outbox
                        WHERE coalesce(leased_until, created_at + $1) < now()
                        ORDER BY id
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)
                RETURNING id, messages
                """,
                self._lease,
                _SWEEP_LIMIT,
            )
        for row in sorted(rows, key=lambda row: row["id"]):
            crash_point("mid-sweep")
            orphans = _from_json(row["messages"])
            await self._publisher.publish(orphans)
            self._acknowledged.append(row["id"])
            SWEPT.inc(len(orphans))
            log.info("outbox swept", published=len(orphans))
        return len(rows)

    async def _measure_age(self) -> None:
        async with self._pool.acquire() as db:
            seconds = await db.fetchval(
                "SELECT extract(epoch FROM now() - min(created_at))::float8 FROM outbox"
            )
        OUTBOX_AGE.set(seconds or 0.0)

    async def flush(self) -> None:
        """At stop: give the last acknowledged rows their deletion, if the database is there."""
        try:
            async with asyncio.timeout(2):
                await self.forget()
        except Exception as error:
            log.warning("outbox rows stay for the sweeper", error=str(error))


def _to_json(messages: Sequence[Outgoing]) -> str:
    """Payloads are JSON already and go in as they are."""
    return orjson.dumps(
        [(*message[:-1], orjson.Fragment(message.payload)) for message in messages]
    ).decode()


def _from_json(text: str) -> list[Outgoing]:
    return [
        Outgoing._make([*fields, orjson.dumps(payload).decode()])
        for *fields, payload in orjson.loads(text)
    ]
