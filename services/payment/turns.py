"""How far the comparisons with Stripe have come, what they have sent, and whose turn it is: one
function, one statement.

A turn outlives transactions, since Stripe is called in the middle of it. So it is a lease and no
lock: a replica that dies in its turn is followed by another one, and what it brings when it was
only away for long is turned away by its token.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from uuid import UUID, uuid4

from services.kit.db import Connection, Pool

Compared = Literal["events", "payments"]


class Turn(NamedTuple):
    compared: Compared
    token: UUID
    reached: datetime
    now: datetime
    """By the database's clock: those of the replicas may differ."""


class TurnLost(Exception):  # noqa: N818  # says what happened
    """The lease ran out and another replica has taken over."""


async def take(
    db: "Connection | Pool", compared: Compared, *, pause: timedelta, lease: timedelta
) -> Turn | None:
    """Begin a turn, unless it is somebody's, or less than `pause` since the last one."""
    token = uuid4()
    row = await db.fetchrow(
        """
        UPDATE reconciliation
           SET turn_at = now(), lease_token = $2
         WHERE compared = $1
           AND turn_at <= now() - CASE WHEN lease_token IS NULL THEN $3::interval
                                       ELSE greatest($3::interval, $4::interval) END
        RETURNING reached, now() AS now
        """,
        compared,
        token,
        pause,
        lease,
    )
    return Turn(compared, token, row["reached"], row["now"]) if row else None


async def keep(db: "Connection | Pool", turn: Turn) -> None:
    """Store how far the turn has come, and renew its lease.

    Raises:
        TurnLost: nothing is stored.
    """
    kept = await db.fetchval(
        """
        UPDATE reconciliation
           SET reached = $3, turn_at = now()
         WHERE compared = $1 AND lease_token = $2
        RETURNING true
        """,
        turn.compared,
        turn.token,
        turn.reached,
    )
    if not kept:
        raise TurnLost


async def end(db: "Connection | Pool", turn: Turn) -> None:
    """Leave the next turn to anybody."""
    await db.execute(
        "UPDATE reconciliation SET lease_token = NULL WHERE compared = $1 AND lease_token = $2",
        turn.compared,
        turn.token,
    )


async def seconds_behind(db: Connection, compared: Compared) -> float:
    """The age of what the comparison has reached."""
    seconds: float = await db.fetchval(
        """
        SELECT extract(epoch FROM now() - reached)::float8
          FROM reconciliation
         WHERE compared = $1
        """,
        compared,
    )
    return seconds


async def seconds_of_silence(db: Connection) -> float:
    """How long no webhook came although a payment of the last two hours was open; 0.0 within the
    first minute, so that where webhooks come nothing else is looked at."""
    seconds: float = await db.fetchval(
        """
        WITH heard AS MATERIALIZED (
            SELECT EXISTS (SELECT FROM stripe_events
                            WHERE received_at > now() - interval '1 minute' AND NOT found) AS lately
        )
        SELECT coalesce(extract(epoch FROM now() - greatest(open.since, last.webhook)), 0)::float8
          FROM heard
          LEFT JOIN LATERAL (SELECT created_at AS since
                               FROM payments
                              WHERE NOT heard.lately
                                AND created_at > now() - interval '2 hours'
                                AND status IN ('open', 'failed')
                              ORDER BY created_at
                              LIMIT 1) AS open ON true
          LEFT JOIN LATERAL (SELECT max(received_at) AS webhook
                               FROM stripe_events
                              WHERE open.since IS NOT NULL
                                AND received_at > now() - interval '2 hours'
                                AND NOT found) AS last ON true
        """
    )
    return seconds


async def known_events(pool: Pool, event_ids: Collection[str]) -> set[str]:
    """Which events have come or are on their way; one that is parked has its person."""
    rows = await pool.fetch(
        """
        SELECT event_id FROM stripe_events WHERE event_id = ANY($1)
         UNION
        SELECT event_id FROM events_sent WHERE event_id = ANY($1)
        """,
        list(event_ids),
    )
    return {row["event_id"] for row in rows}


async def note_sent(pool: Pool, event_ids: Collection[str], now: datetime) -> None:
    """Remember which events are on their way."""
    await pool.execute(
        """
        INSERT INTO events_sent (event_id, sent_at)
        SELECT unnest($1::text[]), $2
        ON CONFLICT (event_id) DO NOTHING
        """,
        list(event_ids),
        now,
    )
