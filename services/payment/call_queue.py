"""The SQL of the queue of Stripe calls: one function, one statement. The migration explains it."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from services.kit.db import Connection, Pool
from services.payment.fair_share import Shares
from services.payment.model import Call, CallKind, NewCall


async def queue_calls(db: Connection, calls: Sequence[NewCall]) -> None:
    """Decide calls: they are made once this transaction is committed."""
    await db.execute(
        """
        INSERT INTO stripe_calls (order_id, kind, parameters, idempotency_key, traceparent)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::json[], $4::text[], $5::text[])
        """,
        [call.order_id for call in calls],
        [call.kind for call in calls],
        [orjson.dumps(call.parameters).decode() for call in calls],
        [call.idempotency_key for call in calls],
        [call.traceparent for call in calls],
    )


async def withdraw_unstarted(db: Connection, order_ids: Collection[UUID]) -> set[UUID]:
    """Take back creations that no worker has taken; returns which. A claim in progress is waited
    for, and what it took stays."""
    rows = await db.fetch(
        """
        DELETE FROM stripe_calls
         WHERE order_id = ANY($1) AND kind = 'create_intent' AND attempts = 0
        RETURNING order_id
        """,
        list(order_ids),
    )
    return {row["order_id"] for row in rows}


async def claim_calls(
    db: "Connection | Pool", limit: int, lease: timedelta, shares: Shares
) -> list[Call]:
    """Claim due calls by fair shares (`fair_share`), each under a token of its own. When their
    worker dies, the lease ends and they are due again. By the database's clock: those of the
    replicas may differ.

    Each class is read from its own place in an index, `limit` rows at most. A row that is locked
    and not claimed is free again at the end of the statement; other replicas skip it until then.
    """
    rows = await db.fetch(
        """
        WITH ranked AS (
            SELECT candidate.order_id,
                   share.queue_class LIKE '%:retry' AS repeat,
                   (share.in_flight
                    + row_number() OVER (PARTITION BY share.queue_class
                                         ORDER BY candidate.next_attempt_at)) / share.weight AS turn
              FROM unnest($3::text[], $4::float8[], $5::int[])
                   AS share (queue_class, weight, in_flight)
             CROSS JOIN LATERAL (SELECT order_id, next_attempt_at
                                   FROM stripe_calls
                                  WHERE queue_class = share.queue_class
                                    AND next_attempt_at <= now()
                                  ORDER BY next_attempt_at
                                  LIMIT $1
                                    FOR UPDATE SKIP LOCKED) AS candidate
        ), allowed AS (
            SELECT order_id, turn, repeat,
                   row_number() OVER (PARTITION BY repeat ORDER BY turn) AS number
              FROM ranked
        )
        UPDATE stripe_calls AS call
           SET attempts = attempts + 1,
               tries = tries + 1,
               next_attempt_at = now() + $2,
               lease_token = gen_random_uuid()
          FROM (SELECT order_id
                  FROM allowed
                 WHERE NOT repeat OR number <= $6
                 ORDER BY turn
                 LIMIT $1) AS due
          JOIN payments AS payment USING (order_id)
         WHERE call.order_id = due.order_id
        RETURNING call.order_id, call.kind, call.parameters, call.idempotency_key,
                  call.generation, call.look_first, call.attempts, call.tries,
                  coalesce(extract(epoch FROM now() - call.spent_at), 0)::float8 AS spent_for,
                  extract(epoch FROM now() - call.key_made_at)::float8 AS key_age,
                  call.created_at, call.traceparent, call.lease_token,
                  payment.payment_intent_id
        """,
        limit,
        lease,
        shares.classes,
        shares.weights,
        shares.in_flight,
        shares.repeats,
    )
    return [_call(row) for row in rows]


async def finish_calls(db: Connection, calls: Sequence[Call]) -> set[UUID]:
    """Remove calls whose lease is still ours; returns which. A worker that was away too long
    finds its lease gone, and what it brings is of no effect: somebody repeated the call.

    No join: the queue is often empty when statistics are taken, and a planner that expects no row
    compares each with each. A token belongs to one call, so two lists say as much as pairs.
    """
    rows = await db.fetch(
        """
        DELETE FROM stripe_calls
         WHERE order_id = ANY($1) AND lease_token = ANY($2)
        RETURNING order_id
        """,
        [call.order_id for call in calls],
        [call.lease_token for call in calls],
    )
    return {row["order_id"] for row in rows}


class Deferral(NamedTuple):
    """A call to repeat. Seconds; `fresh_key`: it was looked for, and its effect is not there."""

    call: Call
    pause: float
    error: str
    look_first: bool = False
    fresh_key: bool = False


async def defer_calls(db: Connection, deferrals: Sequence[Deferral]) -> None:
    """Give calls back, to be repeated after a pause, if their lease is still ours."""
    await db.execute(
        """
        UPDATE stripe_calls AS call
           SET next_attempt_at = now() + again.pause * interval '1 second',
               last_error = again.error,
               look_first = again.look_first,
               spent_at = CASE WHEN NOT again.look_first THEN NULL
                               WHEN NOT call.look_first THEN now()
                               ELSE coalesce(call.spent_at, now()) END,
               generation = call.generation + again.fresh_key::int,
               tries = CASE WHEN again.fresh_key THEN 0 ELSE call.tries END,
               key_made_at = CASE WHEN again.fresh_key THEN now() ELSE call.key_made_at END,
               lease_token = NULL
          FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::text[], $5::bool[], $6::bool[])
            AS again (order_id, lease_token, pause, error, look_first, fresh_key)
         WHERE call.order_id = again.order_id AND call.lease_token = again.lease_token
        """,
        [again.call.order_id for again in deferrals],
        [again.call.lease_token for again in deferrals],
        [again.pause for again in deferrals],
        [again.error for again in deferrals],
        [again.look_first for again in deferrals],
        [again.fresh_key for again in deferrals],
    )


async def bring_forward(db: Connection, order_ids: Collection[UUID]) -> None:
    """Let calls that wait for Stripe's search go on now: an event told which intent is theirs."""
    await db.execute(
        """
        UPDATE stripe_calls
           SET next_attempt_at = now()
         WHERE order_id = ANY($1)
           AND look_first
           AND lease_token IS NULL
           AND next_attempt_at > now()
        """,
        list(order_ids),
    )


class Queue(NamedTuple):
    """The calls of one kind that are decided and not finished. `oldest`: age in seconds."""

    waiting: int
    oldest: float


async def measure_queue(db: Connection) -> dict[CallKind, Queue]:
    """By kind; a kind without calls has zeros."""
    rows = await db.fetch(
        """
        SELECT kind,
               count(*) AS waiting,
               extract(epoch FROM now() - min(created_at))::float8 AS oldest
          FROM stripe_calls
         GROUP BY kind
        """
    )
    measured = {row["kind"]: Queue(row["waiting"], row["oldest"]) for row in rows}
    return {kind: measured.get(kind, Queue(0, 0.0)) for kind in CallKind}


def _call(row: Any) -> Call:
    key, generation = row["idempotency_key"], row["generation"]
    return Call(
        order_id=row["order_id"],
        kind=CallKind(row["kind"]),
        parameters=orjson.loads(row["parameters"]),
        key=key if generation == 1 else f"{key}:{generation}",
        generation=generation,
        look_first=row["look_first"],
        spent_for=row["spent_for"],
        attempts=row["attempts"],
        tries=row["tries"],
        key_age=row["key_age"],
        created_at=row["created_at"],
        traceparent=row["traceparent"],
        payment_intent_id=row["payment_intent_id"],
        lease_token=row["lease_token"],
    )
