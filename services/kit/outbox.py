"""The outbox: what a transaction decided to send, kept until Kafka has acknowledged it.

Rows are written in the transaction that decides them. Whoever commits them publishes them at once,
under a lease; a row whose lease ran out is an orphan of a crash, and the sweeper of any replica
publishes it. A row is deleted only after Kafka's acknowledgement, so deleting needs no guard: it
is right whoever does it. A row published twice carries the same message id.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg
import orjson

from services.kit.crash import crash_point
from services.kit.db import Connection, Pool
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.publisher import Publisher
from services.kit.telemetry import OUTBOX_AGE, PUBLISH_SECONDS, SWEPT, log

_SWEEP_LIMIT = 500


class Outbox:
    def __init__(self, pool: Pool, publisher: Publisher, lease: timedelta) -> None:
        self._pool = pool
        self._publisher = publisher
        self._lease = lease
        self._acknowledged: list[UUID] = []
        self._broker_away = False

    async def save(self, db: Connection, messages: Sequence[Outgoing]) -> None:
        """Write rows inside the caller's transaction; a new row is leased to its writer."""
        # COPY costs half of an INSERT from arrays, on both sides.
        await db.copy_records_to_table(
            "outbox",
            columns=("message_id", "topic", "key", "headers", "payload"),
            records=[
                (m.message_id, m.topic, m.key, orjson.dumps(m.headers).decode(), m.payload)
                for m in messages
            ],
        )

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish rows that are committed. Never raises: what fails is left to the sweeper."""
        try:
            with PUBLISH_SECONDS.time():
                await self._publisher.publish(messages)
        except BrokerUnavailable as error:
            if not self._broker_away:
                log.warning("publishing failed, the outbox keeps it", error=str(error))
            self._broker_away = True
            return
        self._broker_away = False
        self._acknowledged.extend(message.message_id for message in messages)

    async def forget(self) -> None:
        """Delete acknowledged rows: called a few times a second, so not once per batch."""
        done, self._acknowledged = self._acknowledged, []
        if not done:
            return
        try:
            async with self._pool.acquire() as db, db.transaction():
                # A lost deletion only means a repeat with the same id: no need to wait for disk.
                await db.execute("SET LOCAL synchronous_commit = off")
                await db.execute("DELETE FROM outbox WHERE message_id = ANY($1)", done)
        except BaseException:
            self._acknowledged.extend(done)
            raise

    async def sweep(self) -> int:
        """Publish up to 500 rows whose lease ran out, oldest first; say how many there were.

        Raises:
            BrokerUnavailable: the rows are leased until the lease runs out again.
        """
        await self._measure_age()
        async with self._pool.acquire() as db:
            rows = await db.fetch(
                """
                UPDATE outbox
                   SET leased_until = now() + $1
                 WHERE message_id IN (
                       SELECT message_id FROM outbox
                        WHERE coalesce(leased_until, created_at + $1) < now()
                        ORDER BY message_id
                        LIMIT $2
                          FOR UPDATE SKIP LOCKED)
                RETURNING message_id, topic, key, headers, payload
                """,
                self._lease,
                _SWEEP_LIMIT,
            )
        if rows:
            crash_point("mid-sweep")
            orphans = sorted(_outgoing(row) for row in rows)
            await self._publisher.publish(orphans)
            self._acknowledged.extend(orphan.message_id for orphan in orphans)
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


def _outgoing(row: asyncpg.Record) -> Outgoing:
    message_id, topic, key, headers, payload = row
    return Outgoing(message_id, topic, key, orjson.loads(headers), payload)
