"""What the audit says of orders at rest: their money and their stock. One statement each, however
many orders: counts, and the first of those that are wrong."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from services.kit.db import Pool

SOLD = ("confirmed", "processing", "shipped", "delivered", "archived")
UNDONE = ("cancelled", "refunded", "archived_undone")
"""The saga states in which no service owes an answer: with the shop's money, and without."""

_LONGEST = 300.0
"""Seconds: these read the audit of every order."""


class Judged(NamedTuple):
    """How many orders were looked at, how many are wrong, and of the first of them: why."""

    looked_at: int
    wrong: int
    first: Sequence[str]


async def judge_money(pool: Pool, settled_before: datetime, named: int) -> Judged:
    """Sold: all of the total came in. Undone: nothing is left with the shop, unless staff settled
    it outside Stripe or still have to decide. And the order tells the same refunds as the
    payment."""
    row = await pool.fetchrow(
        """
        WITH at_rest AS (
            SELECT order_id, saga_state, total, saga_state = ANY($4) AS undone,
                   coalesce(orders.amount_refunded, 0) AS told,
                   amount_settled IS NOT NULL OR refused_refund IS NOT NULL AS staff_decide,
                   coalesce((payment.said ->> 'amount_received')::bigint, 0) AS received,
                   coalesce((payment.said ->> 'amount_refunded')::bigint, 0) AS refunded,
                   coalesce((payment.said ->> 'amount_lost')::bigint, 0) AS lost
              FROM orders
              LEFT JOIN LATERAL (
                   SELECT happened_at,
                          CASE WHEN payload IS JSON OBJECT THEN payload::json END AS said
                     FROM audit_records
                    WHERE subject = order_id::text AND topic = 'audit.payment'
                    ORDER BY version DESC LIMIT 1) AS payment ON true
             WHERE saga_state = ANY($3::text[] || $4::text[])
               AND version > 0 AND updated_at <= $1 AND saga_since <= $1
               AND (payment.happened_at IS NULL OR payment.happened_at <= $1)
        ), judged AS (
            SELECT order_id, saga_state,
                   CASE WHEN undone AND received <> refunded + lost AND NOT staff_decide
                        THEN 'of ' || received || ' that came in, ' || refunded + lost
                             || ' went back'
                        WHEN NOT undone AND received IS DISTINCT FROM total
                        THEN received || ' of ' || coalesce(total::text, 'no total') || ' came in'
                        WHEN told <> refunded
                        THEN 'it tells of ' || told || ' refunded, its payment of ' || refunded
                   END AS why
              FROM at_rest
        )
        SELECT (SELECT count(*) FROM judged) AS looked_at,
               (SELECT count(*) FROM judged WHERE why IS NOT NULL) AS wrong,
               ARRAY(SELECT order_id || ' is ' || saga_state || ', but ' || why FROM judged
                      WHERE why IS NOT NULL ORDER BY order_id LIMIT $2) AS first
        """,
        settled_before,
        named,
        SOLD,
        UNDONE,
        timeout=_LONGEST,
    )
    assert row is not None  # noqa: S101  # counts are always a row
    return Judged(*row)


async def judge_stock(pool: Pool, settled_before: datetime, named: int) -> Judged:
    """Sold: reserved and committed, and nothing came back. Undone: all that was reserved came back,
    or the customer of a refund keeps what was sold."""
    row = await pool.fetchrow(
        """
        WITH at_rest AS (
            SELECT order_id, saga_state, saga_state = ANY($4) AS undone, reserved, committed,
                   restored, gone
              FROM orders
              LEFT JOIN LATERAL (
                   SELECT coalesce(bool_or(action = 'reserved'), false) AS reserved,
                          coalesce(bool_or(action = 'committed'), false) AS committed,
                          coalesce(bool_or(action = 'restored'), false) AS restored,
                          coalesce(-sum(moved), 0) AS gone,
                          max(happened_at) AS happened_at
                     FROM audit_records
                     LEFT JOIN LATERAL (
                          SELECT sum(quantity) AS moved
                            FROM json_to_recordset(
                                 CASE WHEN payload IS JSON OBJECT
                                      THEN payload::json -> 'moves' ELSE '[]' END)
                              AS move (quantity bigint)) AS moves ON true
                    WHERE subject = order_id::text AND topic = 'audit.inventory') AS stock ON true
             WHERE saga_state = ANY($3::text[] || $4::text[])
               AND version > 0 AND updated_at <= $1 AND saga_since <= $1
               AND (stock.happened_at IS NULL OR stock.happened_at <= $1)
        ), judged AS (
            SELECT order_id, saga_state,
                   CASE WHEN undone AND gone <> 0
                             AND NOT (committed AND NOT restored AND EXISTS (
                                      SELECT FROM audit_records
                                       WHERE subject = order_id::text AND topic = 'audit.order'
                                         AND new_status = 'refunded'))
                        THEN gone || ' pieces did not come back'
                        WHEN undone THEN NULL
                        WHEN NOT reserved THEN 'nothing was reserved'
                        WHEN NOT committed THEN 'nothing was committed'
                        WHEN restored THEN 'its stock came back'
                   END AS why
              FROM at_rest
        )
        SELECT (SELECT count(*) FROM judged) AS looked_at,
               (SELECT count(*) FROM judged WHERE why IS NOT NULL) AS wrong,
               ARRAY(SELECT order_id || ' is ' || saga_state || ', but ' || why FROM judged
                      WHERE why IS NOT NULL ORDER BY order_id LIMIT $2) AS first
        """,
        settled_before,
        named,
        SOLD,
        UNDONE,
        timeout=_LONGEST,
    )
    assert row is not None  # noqa: S101  # counts are always a row
    return Judged(*row)
