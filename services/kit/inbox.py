"""The inbox: which messages are new, and whose key is blocked by a parked predecessor.

One statement per batch, in the transaction of the effect. Two owners of a partition during a
rebalance are harmless: the second insert waits for the first one's commit and returns nothing.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from services.kit.db import Connection


class Admission(NamedTuple):
    known: set[UUID]
    """Ids that had their effect before; the others are remembered when the transaction commits."""
    blocked: set[str]
    """Keys under which a message is parked or waiting."""


async def admit(db: Connection, ids: Collection[UUID], keys: Collection[str]) -> Admission:
    """Remember `ids` and say which are known already: normally none.

    Ids are inserted in order, so that two owners of the same records wait instead of deadlocking.
    The open parked rows are share-locked: a replay cannot close the last one while this
    transaction is about to queue a message behind it.
    """
    rows = await db.fetch(
        """
        WITH fresh AS (
            INSERT INTO inbox (message_id)
            SELECT id FROM unnest($1::uuid[]) AS ids (id) ORDER BY id
            ON CONFLICT DO NOTHING
            RETURNING message_id
        ), blocked AS (
            SELECT key
              FROM parked_messages
             WHERE key = ANY($2::text[]) AND state IN ('parked', 'waiting', 'replay')
               FOR SHARE
        )
        SELECT id, NULL AS key FROM unnest($1::uuid[]) AS ids (id)
         WHERE id NOT IN (SELECT message_id FROM fresh)
         UNION ALL
        SELECT NULL, key FROM blocked
        """,
        list(ids),
        list(keys),
    )
    return Admission(
        known={row["id"] for row in rows if row["id"] is not None},
        blocked={row["key"] for row in rows if row["key"] is not None},
    )


async def maintain(db: Connection, retention: timedelta) -> None:
    """Make the coming days' partitions and drop those past `retention`."""
    await db.execute("SELECT maintain_inbox($1)", retention)
