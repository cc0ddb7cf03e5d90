"""The statements of the outbox, and how its rows hold messages."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson
from aiokafka import TopicPartition

from services.kit.db import Connection
from services.kit.messages import Outgoing, reason_of
from services.kit.outcome import Outcome

AT_ONCE: Final = 20
"""Rows of one sweep: each may hold the messages of a whole batch."""


class Reduced(NamedTuple):
    """What is left of a row that was acknowledged in part, and the partitions that it waits for."""

    id: UUID
    messages: Sequence[Outgoing]
    places: Collection[TopicPartition]
    reason: str


class Row(NamedTuple):
    id: UUID
    messages: Sequence[Outgoing]


@dataclass(slots=True, eq=False)
class Attempt:
    """Rows that were given to the publisher together."""

    rows: Sequence[Row]
    outcome: Outcome = field(default_factory=Outcome)
    finished: bool = False

    def reduced(self) -> list[Reduced]:
        """The rows that have something left to be published later."""
        place_of = {
            message.message_id: place
            for place, messages in self.outcome.left.items()
            for message in messages
        }
        found = []
        for row in self.rows:
            left = [message for message in row.messages if message.message_id in place_of]
            if left:
                places = {place_of[message.message_id] for message in left}
                reason = self.outcome.reasons[min(places)]
                found.append(Reduced(row.id, left, places, reason))
        return found


async def insert(db: Connection, row_id: UUID, messages: Sequence[Outgoing]) -> None:
    await db.execute(
        "INSERT INTO outbox (id, messages) VALUES ($1, $2)", row_id, _to_json(messages)
    )


async def delete(db: Connection, row_ids: Sequence[UUID]) -> None:
    await db.execute("DELETE FROM outbox WHERE id = ANY($1)", row_ids)


async def reduce(db: Connection, rows: Sequence[Reduced]) -> None:
    """Keep what is left of rows, without a lease. A row that another replica has finished stays
    deleted."""
    await db.execute(
        """
        UPDATE outbox
           SET messages = rest.messages, held_for = string_to_array(rest.held_for, ' '),
               reason = rest.reason, leased_until = NULL
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
               AS rest (id, messages, held_for, reason)
         WHERE outbox.id = rest.id
        """,
        [row.id for row in rows],
        [_to_json(row.messages) for row in rows],
        [" ".join(_name(place) for place in sorted(row.places)) for row in rows],
        [reason_of(row.reason) for row in rows],
    )


async def lease_orphans(
    db: Connection, lease: timedelta, *, but_not: Sequence[UUID]
) -> list[asyncpg.Record]:
    """At most 20 rows that nobody has published in time, for one attempt, in their order.

    Those that were tried before come last: however many of them fail, the others have their turn.
    """
    rows = await db.fetch(
        """
        UPDATE outbox
           SET leased_until = now() + $1
         WHERE id IN (
               SELECT id FROM outbox
                WHERE held_for IS NULL AND coalesce(leased_until, created_at + $1) < now()
                  AND id <> ALL($3)
                ORDER BY coalesce(leased_until, created_at + $1), id
                LIMIT $2
                  FOR UPDATE SKIP LOCKED)
        RETURNING id, messages
        """,
        lease,
        AT_ONCE,
        but_not,
    )
    return sorted(rows, key=lambda row: row["id"])


async def lease_held(
    db: Connection, places: Collection[TopicPartition], lease: timedelta
) -> list[asyncpg.Record]:
    """The oldest 20 rows that are held for these partitions, in their order; none while another
    replica has some of them, as two would publish a key's messages in any order."""
    async with db.transaction():
        if not await db.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('outbox_held'))"):
            return []
        rows = await db.fetch(
            """
            UPDATE outbox
               SET leased_until = now() + $1
             WHERE id IN (
                   SELECT id FROM outbox WHERE held_for && $2::text[] ORDER BY id LIMIT $3)
               AND NOT EXISTS (
                   SELECT FROM outbox WHERE held_for && $2::text[] AND leased_until > now())
            RETURNING id, messages
            """,
            lease,
            [_name(place) for place in places],
            AT_ONCE,
        )
    return sorted(rows, key=lambda row: row["id"])


async def look(db: Connection) -> tuple[float, frozenset[TopicPartition]]:
    """The age of the oldest row in seconds, and the partitions that rows are held for."""
    row = await db.fetchrow(
        """
        SELECT (SELECT extract(epoch FROM now() - min(created_at))::float8 FROM outbox) AS seconds,
               ARRAY (SELECT DISTINCT unnest(held_for) FROM outbox WHERE held_for IS NOT NULL)
               AS held_for
        """
    )
    assert row is not None  # noqa: S101  # for the type checker: there is always one
    return row["seconds"] or 0.0, frozenset(_place(name) for name in row["held_for"])


async def mark_unreadable(db: Connection, row_id: UUID, error: Exception) -> None:
    """Keep a row that is no JSON of ours, held for nothing, so that no sweep takes it again."""
    await db.execute(
        "UPDATE outbox SET held_for = '{}', reason = $2 WHERE id = $1",
        row_id,
        reason_of(f"{type(error).__name__}: {error}"),
    )


def _name(place: TopicPartition) -> str:
    return f"{place.topic}/{place.partition}"


def _place(name: str) -> TopicPartition:
    topic, _, partition = name.rpartition("/")
    return TopicPartition(topic, int(partition))


def _to_json(messages: Sequence[Outgoing]) -> str:
    """Payloads are JSON already and go in as they are."""
    return orjson.dumps(
        [(*message[:-1], orjson.Fragment(message.payload)) for message in messages]
    ).decode()


def from_json(text: str) -> list[Outgoing]:
    """What `insert` wrote.

    Raises:
        ValueError, TypeError: it is something else.
    """
    return [
        Outgoing._make([*fields, orjson.dumps(payload).decode()])
        for *fields, payload in orjson.loads(text)
    ]
