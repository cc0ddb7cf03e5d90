"""SQL about orders that cannot be advanced, and about messages that wait for a newer release: one
function, one statement."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from services.kit.db import Connection
from services.order.order import KNOWN_STATES


class StuckOrder(NamedTuple):
    """A row that `flag_stuck` has written."""

    id: UUID
    saga_state: str
    rounds: int
    retry_at: datetime


async def flag_stuck(
    db: Connection,
    reasons: Mapping[UUID, str],
    now: datetime,
    first_retry: timedelta,
    last_retry: timedelta,
) -> list[StuckOrder]:
    """Set locked orders aside, each with its reason. The next try comes after `first_retry`, later
    after as long as the order has been stuck, at the latest after `last_retry`."""
    rows = await db.fetch(
        """
        UPDATE orders
           SET stuck_reason = stuck.reason,
               stuck_since = CASE WHEN stuck_reason IS NULL THEN $3 ELSE least(stuck_since, $3) END,
               deadline_at = $3::timestamptz + CASE
                   WHEN stuck_reason IS NULL OR stuck_since IS NULL THEN $4::interval
                   ELSE greatest($4::interval, least($5::interval, $3::timestamptz - stuck_since))
               END
          FROM unnest($1::uuid[], $2::text[]) AS stuck (id, reason)
         WHERE orders.id = stuck.id
        RETURNING orders.id, saga_state, rounds, deadline_at
        """,
        list(reasons),
        list(reasons.values()),
        now,
        first_retry,
        last_retry,
    )
    return [StuckOrder(*row) for row in rows]


async def make_stuck_due(db: Connection, now: datetime) -> int:
    """Have every order that could not be advanced tried again; says how many there are."""
    status = await db.execute(
        """
        UPDATE orders SET deadline_at = $1
         WHERE stuck_since IS NOT NULL AND stuck_reason IS NOT NULL AND saga_state = ANY($2)
        """,
        now,
        KNOWN_STATES,
    )
    return int(status.removeprefix("UPDATE "))


class StuckCount(NamedTuple):
    unanswered: int
    failing: int


async def count_stuck(db: Connection) -> StuckCount:
    """Orders without an answer in many rounds, and orders that cannot be advanced."""
    row = await db.fetchrow(
        """
        SELECT count(*) FILTER (WHERE stuck_reason IS NULL), count(stuck_reason)
          FROM orders
         WHERE stuck_since IS NOT NULL
        """
    )
    assert row is not None  # noqa: S101  # an aggregate has one row
    return StuckCount(*row)


async def replayable_dead_letters(
    db: Connection, reasons: Sequence[str], limit: int
) -> dict[int, UUID]:
    """Dead letters whose reason begins with one of these, with their orders, the oldest first. A
    message that failed n times waits for n^2 seconds after its first failure: replicas of two
    releases may hand it to each other for as long as both run."""
    rows = await db.fetch(
        """
        SELECT id, key FROM parked_messages
         WHERE state = 'parked' AND reason ^@ ANY($1::text[])
           AND parked_at <= now() - attempts * attempts * interval '1 second'
         ORDER BY id
         LIMIT $2
        """,
        reasons,
        limit,
    )
    return {row["id"]: UUID(row["key"]) for row in rows}


async def in_known_states(db: Connection, order_ids: Collection[UUID]) -> set[UUID]:
    rows = await db.fetch(
        "SELECT id FROM orders WHERE id = ANY($1) AND saga_state = ANY($2)",
        list(order_ids),
        KNOWN_STATES,
    )
    return {row["id"] for row in rows}


async def replay(db: Connection, dead_letter_ids: Sequence[int]) -> None:
    """Have the kit handle dead letters again, as the command of an operator would."""
    await db.execute(
        """
        UPDATE parked_messages
           SET state = 'replay', operation_id = NULL, asked_by = 'order-service',
               ask_reason = 'the order may be readable now'
         WHERE id = ANY($1) AND state = 'parked'
        """,
        dead_letter_ids,
    )
