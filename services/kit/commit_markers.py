"""The table of commit markers: how far the history of the database goes. Read failover.py first."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.kit.db import Connection
from services.kit.errors import Retry

_TIMELINE = "('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int"


class HistoryUnverified(Retry):
    """The connection leads to a standby, or to a server that is not compared with Kafka yet."""


class Memory(NamedTuple):
    """What the database remembers of its own history."""

    timeline: int
    """That the server writes now."""
    missing: Collection[UUID]
    """Markers that Kafka has and the database lacks, of those young enough to be there."""
    last_timeline: int | None = None
    """Of the newest marker; None if there is none."""
    last_synchronous: bool = False
    last_made_at: datetime = datetime.min.replace(tzinfo=UTC)


async def insert(db: Connection) -> str:
    """Add a marker in a transaction of its own; returns its id."""
    marker: str = await db.fetchval(
        f"""
        INSERT INTO commit_markers (timeline, synchronous)
        VALUES ({_TIMELINE},
                current_setting('synchronous_standby_names') <> ''
                AND current_setting('synchronous_commit') IN ('on', 'remote_apply'))
        RETURNING id::text
        """  # noqa: S608
    )
    return marker


async def delete_old(db: Connection) -> None:
    """Keep the markers of the last hour, and the newest however old it is."""
    await db.execute(
        """
        DELETE FROM commit_markers
         WHERE made_at < now() - interval '1 hour'
           AND id <> (SELECT id FROM commit_markers ORDER BY id DESC LIMIT 1)
        """
    )


async def server_timeline(db: Connection) -> int:
    """The timeline that the server writes.

    Raises:
        HistoryUnverified: it is a standby.
    """
    try:
        timeline: int = await db.fetchval(f"SELECT {_TIMELINE}")
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise HistoryUnverified("the database server is a standby; it is not promoted") from error
    return timeline


async def recall(db: Connection, in_kafka: Collection[UUID]) -> Memory:
    """What the database remembers, compared with the markers that Kafka has."""
    row = await db.fetchrow(
        f"""
        SELECT {_TIMELINE} AS timeline,
               ARRAY(SELECT id FROM unnest($1::uuid[]) AS in_kafka (id)
                      WHERE id NOT IN (SELECT id FROM commit_markers)
                        -- Older ones may have been deleted.
                        AND id > (SELECT id FROM commit_markers ORDER BY id LIMIT 1)
                    ) AS missing,
               newest.timeline AS last_timeline, newest.synchronous, newest.made_at
          FROM (SELECT) AS server
          LEFT JOIN (SELECT timeline, synchronous, made_at
                       FROM commit_markers ORDER BY id DESC LIMIT 1) AS newest ON true
        """,  # noqa: S608
        list(in_kafka),
    )
    assert row is not None  # noqa: S101  # for the type checker: the server is one row
    if row["last_timeline"] is None:
        return Memory(row["timeline"], row["missing"])
    return Memory(
        row["timeline"],
        row["missing"],
        row["last_timeline"],
        row["synchronous"],
        row["made_at"],
    )
