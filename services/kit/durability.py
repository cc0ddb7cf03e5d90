"""Whether the database server keeps what it commits, also when its machine is lost.

Kafka keeps offsets and messages of a commit. A server that forgets the commit afterwards makes the
service repeat or contradict what it has published already. So in production a commit has to be on
a second server before it is acknowledged; see decision 0029.
"""

from services.kit.db import Connection, Pool
from services.kit.settings import ServiceSettings
from services.kit.tasks import Call, repeating
from services.kit.telemetry import DATABASE_WEAKNESSES, log

_GUIDE = "see docs/deployment.md, Database failover"
_CHECK_SECONDS = 10
_FLUSHED_ON_STANDBY = ("on", "remote_apply")


class Durability:
    """Reports weaknesses of the server as they come and go."""

    def __init__(self, settings: ServiceSettings, pool: Pool) -> None:
        self._settings = settings
        self._pool = pool
        self._reported: list[str] = []

    def tasks(self) -> dict[str, Call]:
        """What runs from start to stop, by name."""
        return {"check_durability": repeating(self.check, seconds=_CHECK_SECONDS)}

    async def check(self) -> None:
        """Set the metric, and log what has changed since the last call."""
        async with self._pool.acquire() as db:
            found = await weaknesses(db, self._settings)
        DATABASE_WEAKNESSES.set(len(found))
        if found != self._reported:
            if found:
                log.error("the database can lose commits", weaknesses=found)
            else:
                log.info("the database keeps its commits again")
            self._reported = found


async def weaknesses(db: Connection, settings: ServiceSettings) -> list[str]:
    """The settings with which this session's server can lose commits, each with its remedy. Empty
    outside production."""
    if not settings.production:
        return []
    rows = await db.fetch(
        """
        SELECT name, setting FROM pg_settings
         WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit',
                        'synchronous_standby_names')
        """
    )
    server: dict[str, str] = {row["name"]: row["setting"] for row in rows}
    found = [
        f"{name} is off: a crash of the server loses or damages commits. Set it to on"
        for name in ("fsync", "full_page_writes", "synchronous_commit")
        if server[name] == "off"
    ]
    if settings.database_synchronous_standby == "waived":
        return found
    if not server["synchronous_standby_names"]:
        found.append(
            "synchronous_standby_names is empty: a failover can forget commits. Name a standby, "
            "for example 'ANY 1 (*)', or set DATABASE_SYNCHRONOUS_STANDBY=waived if the storage "
            f"is replicated or such a loss is accepted ({_GUIDE})"
        )
    if server["synchronous_commit"] not in (*_FLUSHED_ON_STANDBY, "off"):
        found.append(
            f"synchronous_commit is {server['synchronous_commit']}: a commit does not wait until "
            f"the standby has it on disk. Set it to on ({_GUIDE})"
        )
    return found
