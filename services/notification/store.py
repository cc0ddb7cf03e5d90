"""The SQL of contacts, of what orders were told, and of the queue of mails: one function, one
statement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from services.kit.db import Connection, Pool
from services.notification.rules import Kind, Mail, Told


async def save_contacts(db: Connection, emails: Mapping[UUID, str], now: datetime) -> None:
    """Keep the newest address of each order."""
    await db.execute(
        """
        INSERT INTO contacts (order_id, email, given_at)
        SELECT order_id, email, $3 FROM unnest($1::uuid[], $2::text[]) AS given (order_id, email)
         ORDER BY order_id
        ON CONFLICT (order_id) DO UPDATE SET email = excluded.email
        """,
        list(emails),
        list(emails.values()),
        now,
    )


async def lock_told(db: Connection, order_ids: Sequence[UUID]) -> dict[UUID, Told]:
    """What these orders were told, rows locked; a new order gets its row."""
    rows = await db.fetch(
        """
        INSERT INTO orders (order_id)
        SELECT unnest($1::uuid[]) ORDER BY 1
        ON CONFLICT (order_id) DO UPDATE SET version = orders.version
        RETURNING order_id, version, changes, amount_refunded, payment_failed
        """,
        order_ids,
    )
    return {
        row["order_id"]: Told(
            row["version"], row["changes"], row["amount_refunded"], row["payment_failed"]
        )
        for row in rows
    }


async def save_told(db: Connection, told: Mapping[UUID, tuple[Told, datetime]]) -> None:
    """Note what has been told, and when each order changed last."""
    values = list(told.values())
    await db.execute(
        """
        UPDATE orders
           SET version = now.version,
               changes = now.changes,
               amount_refunded = now.amount_refunded,
               payment_failed = now.payment_failed,
               changed_at = greatest(orders.changed_at, now.changed_at)
          FROM unnest($1::uuid[], $2::int[], $3::int[], $4::bigint[], $5::bool[],
                      $6::timestamptz[])
            AS now (order_id, version, changes, amount_refunded, payment_failed, changed_at)
         WHERE orders.order_id = now.order_id
        """,
        list(told),
        [each.version for each, _ in values],
        [each.changes for each, _ in values],
        [each.amount_refunded for each, _ in values],
        [each.payment_failed for each, _ in values],
        [changed_at for _, changed_at in values],
    )


async def queue_mails(db: Connection, mails: Sequence[Mail]) -> None:
    """Decide mails: they are sent once this is committed and the order's contact is known."""
    await db.execute(
        """
        INSERT INTO mails (order_id, kind, number, facts, news_at)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::json[], $5::timestamptz[])
        ON CONFLICT ON CONSTRAINT one_mail_per_news DO NOTHING
        """,
        [mail.order_id for mail in mails],
        [mail.kind for mail in mails],
        [mail.number for mail in mails],
        [orjson.dumps(mail.facts).decode() for mail in mails],
        [mail.news_at for mail in mails],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMail:
    """A mail taken from the queue under a lease."""

    order_id: UUID
    kind: Kind
    number: int
    facts: dict[str, Any] | None
    """What the template says; None when it is not stored, or cannot be read."""
    email: str
    news_at: datetime
    attempts: int
    lease_token: UUID


async def claim_mails(pool: Pool, limit: int, lease: timedelta, token: UUID) -> list[QueuedMail]:
    """Take due mails whose contact is known: those not tried yet first, then those that wait
    longest. Mails of a kind that a newer release brought are left to it. When their worker dies,
    the lease ends and they are due again. By the database's clock."""
    rows = await pool.fetch(
        """
        WITH first AS MATERIALIZED (
            SELECT order_id, kind, number, contact.email
              FROM mails JOIN contacts AS contact USING (order_id)
             WHERE state = 'queued' AND attempts = 0 AND next_attempt_at <= now()
               AND kind = ANY($4)
             ORDER BY next_attempt_at
             LIMIT $1
               FOR UPDATE OF mails SKIP LOCKED
        ), again AS MATERIALIZED (
            SELECT order_id, kind, number, contact.email
              FROM mails JOIN contacts AS contact USING (order_id)
             WHERE state = 'queued' AND attempts > 0 AND next_attempt_at <= now()
               AND kind = ANY($4)
             ORDER BY next_attempt_at
             LIMIT $1 - (SELECT count(*) FROM first)
               FOR UPDATE OF mails SKIP LOCKED
        )
        UPDATE mails AS mail
           SET attempts = attempts + 1, next_attempt_at = now() + $2, lease_token = $3
          FROM (SELECT * FROM first UNION ALL SELECT * FROM again) AS due
         WHERE (mail.order_id, mail.kind, mail.number) = (due.order_id, due.kind, due.number)
        RETURNING mail.order_id, mail.kind, mail.number, facts, due.email, news_at, attempts
        """,
        limit,
        lease,
        token,
        list(Kind),
    )
    return [
        QueuedMail(
            order_id=row["order_id"],
            kind=Kind(row["kind"]),
            number=row["number"],
            facts=_facts(row["facts"]),
            email=row["email"],
            news_at=row["news_at"],
            attempts=row["attempts"],
            lease_token=token,
        )
        for row in rows
    ]


def _facts(stored: str | None) -> dict[str, Any] | None:
    """Never raises: one row that cannot be read must not keep the others from being claimed."""
    try:
        facts = orjson.loads(stored or "null")
    except orjson.JSONDecodeError:  # PostgreSQL takes JSON that is none here, such as 1e999
        return None
    return facts if isinstance(facts, dict) else None


class Change(NamedTuple):
    """What becomes of a mail after an attempt: `queued` again after `pause` seconds, `sent`, or
    `parked`; `reason` says why it is not sent, without the address."""

    mail: QueuedMail
    state: str
    pause: float = 0.0
    reason: str | None = None


async def save_attempts(db: Connection, changes: Sequence[Change]) -> None:
    """Note what came of mails whose lease is still ours."""
    await db.execute(
        """
        UPDATE mails AS mail
           SET state = done.state,
               facts = CASE WHEN done.state <> 'sent' THEN mail.facts END,
               next_attempt_at = now() + done.pause * interval '1 second',
               finished_at = CASE WHEN done.state <> 'queued' THEN now() END,
               reason = done.reason,
               lease_token = NULL
          FROM unnest($1::uuid[], $2::text[], $3::int[], $4::uuid[], $5::text[], $6::float8[],
                      $7::text[])
            AS done (order_id, kind, number, lease_token, state, pause, reason)
         WHERE (mail.order_id, mail.kind, mail.number) = (done.order_id, done.kind, done.number)
           AND mail.lease_token = done.lease_token
        """,
        [change.mail.order_id for change in changes],
        [change.mail.kind for change in changes],
        [change.mail.number for change in changes],
        [change.mail.lease_token for change in changes],
        [change.state for change in changes],
        [change.pause for change in changes],
        [change.reason for change in changes],
    )


async def park_stale_mails(db: Connection, before: datetime) -> int:
    """Park what could not be sent while it was news; returns how many."""
    rows = await db.fetch(
        """
        UPDATE mails
           SET state = 'parked', finished_at = now(),
               reason = 'too old to be of use; ' || coalesce(reason, 'no contact came')
         WHERE state = 'queued' AND news_at < $1 AND next_attempt_at <= now()
        RETURNING 1
        """,
        before,
    )
    return len(rows)


async def count_mails(db: Connection) -> dict[str, int]:
    """How many mails are queued and parked."""
    row = await db.fetchrow(
        """
        SELECT (SELECT count(*) FROM mails WHERE state = 'queued') AS queued,
               (SELECT count(*) FROM mails WHERE state = 'parked') AS parked
        """
    )
    return dict(row) if row else {}


async def forget_contacts(db: Connection, before: datetime, limit: int) -> None:
    """Delete the addresses of orders that have not changed since, so many at once."""
    await db.execute(
        """
        DELETE FROM contacts
         WHERE order_id = ANY(ARRAY(
               SELECT order_id FROM contacts
                WHERE given_at < $1
                  AND NOT EXISTS (SELECT FROM orders
                                   WHERE orders.order_id = contacts.order_id AND changed_at >= $1)
                ORDER BY given_at
                LIMIT $2))
        """,
        before,
        limit,
    )


async def forget_mails(db: Connection, before: datetime, limit: int) -> None:
    """Delete mails that ended before, so many at once. What an order was told is in `orders`, for
    good."""
    await db.execute(
        """
        DELETE FROM mails
         WHERE ctid = ANY(ARRAY(SELECT ctid FROM mails
                                 WHERE finished_at < $1 ORDER BY finished_at LIMIT $2))
        """,
        before,
        limit,
    )
