"""How far the comparisons with Stripe have come, and whose turn it is: one function, one statement.

A turn outlives transactions, since Stripe is called in the middle of it. So it is a lease and no
lock: a replica that dies in its turn is followed by another one, and what it brings when it was
only away for long is turned away by its token.
"""

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
