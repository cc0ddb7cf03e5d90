"""Detects that the database has forgotten commits whose effects Kafka has.

The standby that is promoted after the loss of an asynchronous primary lacks the last commits; so
does a server restored without the procedure. Kafka has their offsets and messages. Going on would
sell stock twice and number versions anew, so the guard stops the service instead.

    commit a batch ... commit a marker (a row) -> commit offsets to Kafka with the marker's id

The log of the database is replayed in its order. If a server remembers a marker, it remembers
every commit before it. If Kafka has a marker that the server lacks, commits are lost. A marker
also records the server's timeline, which each promotion changes, and whether commits waited for a
standby: after a promotion without that, losses since the last marker are possible but cannot be
excluded, and count as losses. See decision 0029.
"""

import asyncio
from datetime import UTC, datetime
from typing import NoReturn
from uuid import UUID

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient

from contracts.message import sent_at_ms
from services.kit import commit_markers
from services.kit.commit_markers import HistoryUnverified, Memory, recall, server_timeline
from services.kit.db import Connection, Pool
from services.kit.errors import KitError, is_infrastructure
from services.kit.settings import ServiceSettings
from services.kit.tasks import Call, repeating
from services.kit.telemetry import FORGOTTEN_COMMITS, log
from services.kit.undone import Undone, undone_time

_PROCEDURE = "docs/deployment.md, After a failover that lost commits"
_ACQUIRE_SECONDS = 5.0
_RETRY_SECONDS = 2.0


class ForgottenCommits(KitError):  # noqa: N818
    """The database lacks, or may lack, commits whose effects Kafka has. The text names the
    procedure."""


def loss(memory: Memory, undone: Undone) -> str | None:
    """What the database has forgotten, in words; None if it has all that Kafka has.

    What a restore or the procedure has dealt with (`undone`) does not count.
    """
    known = memory.last_made_at
    lost = max(map(_made_at, memory.missing), default=undone.latest)
    if lost > undone.latest:
        return (
            f"Kafka has effects of commits until {lost:%Y-%m-%d %H:%M:%S} UTC, the database only "
            f"remembers commits until {known:%Y-%m-%d %H:%M:%S} UTC"
        )
    promoted = memory.last_timeline is not None and memory.last_timeline != memory.timeline
    if promoted and not memory.last_synchronous and memory.last_made_at > undone.latest:
        return (
            f"the database server was promoted (timeline {memory.last_timeline} to "
            f"{memory.timeline}) and did not replicate synchronously before: commits after "
            f"{known:%Y-%m-%d %H:%M:%S} UTC may be lost"
        )
    return None


class FailoverGuard:
    """Admits connections to one history of the database: the one that Kafka's offsets belong to."""

    def __init__(self, group: str, settings: ServiceSettings) -> None:
        self._group = group
        self._dsn = settings.database_url
        self._kafka = settings.kafka_bootstrap_servers
        self._accepted: int | None = None
        self._suspect = False
        self.refusal = ""
        """Why the service does no more work; empty while it may."""
        self._pools: tuple[Pool, ...] = ()

    async def admit(self, connection: Connection) -> None:
        """Called for each new connection of a pool.

        Raises:
            HistoryUnverified: nothing may be done on this server, or not yet.
        """
        timeline = await server_timeline(connection)
        if self.refusal:
            raise HistoryUnverified(self.refusal)
        if self._accepted is None:
            self._accepted = timeline
        if timeline != self._accepted:
            self._suspect = True
            raise HistoryUnverified(
                f"the database server was promoted (timeline {self._accepted} to {timeline}); "
                "its history is not compared with Kafka yet"
            )

    async def start(self, *pools: Pool) -> None:
        """Compare with Kafka if the server was promoted since the last marker; waits for Kafka
        then. `pools` are those that `admit` guards; the first is used for markers.

        Raises:
            ForgottenCommits: the service must not start.
        """
        self._pools = pools
        async with pools[0].acquire(timeout=_ACQUIRE_SECONDS) as db:
            memory = await recall(db, ())
        while memory.last_timeline not in (None, memory.timeline):
            try:
                await self.verify()
                break
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("promoted server cannot be compared with Kafka", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
        await self.mark()

    async def mark(self) -> str:
        """Commit a marker; returns its id. All that was committed before is older than it."""
        async with self._pools[0].acquire(timeout=_ACQUIRE_SECONDS) as db:
            return await commit_markers.insert(db)

    async def watch(self) -> None:
        """Compare a server with Kafka that connections were refused to, since it was promoted.

        Raises:
            ForgottenCommits: the service stays refused until it is restarted.
            KafkaError, OSError: Kafka or the database is away.
        """
        if self._suspect and not self.refusal:
            await self.verify()

    async def verify(self) -> None:
        """Compare the database with Kafka, and accept its server's timeline.

        Raises:
            ForgottenCommits, KafkaError, OSError: as for `watch`.
        """
        if self.refusal:
            raise ForgottenCommits(self.refusal)
        # Kafka first: a marker that another replica commits meanwhile must not seem to be missing.
        in_kafka = await markers_in_kafka(self._kafka, self._group)
        connection = await asyncpg.connect(self._dsn, timeout=10)
        try:
            await server_timeline(connection)
            memory = await recall(connection, in_kafka)
            found = loss(memory, await undone_time(connection))
        finally:
            await connection.close(timeout=5)
        if found:
            self._refuse(f"{found}. Stop all services and follow {_PROCEDURE}")
        if memory.timeline != self._accepted:
            log.info("promoted server accepted, no commit is lost", timeline=memory.timeline)
        self._accepted, self._suspect = memory.timeline, False

    def _refuse(self, reason: str) -> NoReturn:
        log.error("commits are forgotten, the service stops its work", error=reason)
        FORGOTTEN_COMMITS.set(1)
        self.refusal = reason
        for pool in self._pools:
            pool.terminate()
        raise ForgottenCommits(reason)

    async def forget_old_markers(self) -> None:
        """Delete markers that are no longer compared; called about once an hour."""
        async with self._pools[0].acquire(timeout=_ACQUIRE_SECONDS) as db:
            await commit_markers.delete_old(db)

    def tasks(self) -> dict[str, Call]:
        """What runs from start to stop, by name."""
        return {
            "watch_failover": repeating(self.watch, seconds=0.5),
            "forget_markers": repeating(self.forget_old_markers, seconds=3600),
        }


async def markers_in_kafka(bootstrap_servers: str, group: str) -> set[UUID]:
    """The markers beside the offsets of a group. Offsets of an older release, or those that a tool
    has set, have none."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(group)
    finally:
        await admin.close()
    found = set()
    for _, metadata in offsets.values():
        try:
            found.add(UUID(metadata or ""))
        except ValueError:
            continue
    return found


def _made_at(marker: UUID) -> datetime:
    return datetime.fromtimestamp(sent_at_ms(marker) / 1000, UTC)
