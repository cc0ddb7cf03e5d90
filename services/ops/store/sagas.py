"""Orders whose sagas do not go on: they wait for an answer, or cannot be advanced."""

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from services.kit.db import Pool


async def list_stuck(
    pool: Pool, states: Sequence[str], since: datetime, limit: int, *, failing: bool = False
) -> list[asyncpg.Record]:
    """The orders that cannot be advanced, then those that have waited in one of the states since
    then, the longest waiting first; of each state no more are read than are asked for. `failing`:
    orders that cannot be advanced whatever their state, not in these states only."""
    return await pool.fetch(
        """
        SELECT order_id, status, payment_status, saga_state, saga_since, rounds, next_try_at,
               stuck_reason,
               (SELECT count(*) FROM letters
                 WHERE source_key = order_id::text
                   AND state IN ('parked', 'waiting', 'replay')) AS parked
          FROM (SELECT waiting.*
                  FROM (SELECT DISTINCT unnest($1::text[]) AS wanted) AS states
                 CROSS JOIN LATERAL (SELECT *
                                       FROM orders
                                      WHERE saga_state = wanted AND saga_since <= $2
                                      ORDER BY saga_since, order_id
                                      LIMIT $3) AS waiting
                 UNION
                (SELECT *
                   FROM orders
                  WHERE stuck_reason IS NOT NULL AND ($4 OR saga_state = ANY($1))
                  ORDER BY saga_since, order_id
                  LIMIT $3)) AS found
         ORDER BY stuck_reason IS NULL, saga_since, order_id
         LIMIT $3
        """,
        states,
        since,
        limit,
        failing,
    )


async def count_failing(pool: Pool) -> int:
    """How many orders cannot be advanced."""
    failing: int = await pool.fetchval("SELECT count(*) FROM orders WHERE stuck_reason IS NOT NULL")
    return failing
