"""Addresses leave when they are needed no more, also from what is parked; the rest stays."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

import services.notification
from contracts.topics import CUSTOMER_CONTACTS
from services.kit.db import Connection
from services.kit.parking import forget_payloads
from services.notification import store
from services.notification.rules import Kind, Mail, Told
from tests.conftest import Migrated

DAY = timedelta(days=1)


@pytest.fixture
async def db(migrated: Migrated) -> AsyncIterator[Connection]:
    folder = Path(services.notification.__file__).parent / "migrations"
    connection = await asyncpg.connect(await migrated(folder))
    yield connection
    await connection.close()


async def test_the_contact_of_an_order_that_rests_is_deleted(db: Connection) -> None:
    now = datetime.now(UTC)
    resting, moving, unknown, new = (uuid4() for _ in range(4))
    old = dict.fromkeys((resting, moving, unknown), "anna@example.com")
    await store.save_contacts(db, old, now - 40 * DAY)
    await store.save_contacts(db, {new: "anna@example.com"}, now)
    changed = {resting: now - 31 * DAY, moving: now - 2 * DAY}
    await store.lock_told(db, list(changed))
    await store.save_told(db, {order_id: (Told(3), at) for order_id, at in changed.items()})
    await store.forget_contacts(db, now - 30 * DAY, limit=100)
    left: set[UUID] = {row["order_id"] for row in await db.fetch("SELECT * FROM contacts")}
    assert left == {moving, new}


async def test_a_parked_contact_loses_its_payload_and_others_keep_theirs(db: Connection) -> None:
    for offset, (topic, days) in enumerate(
        [(CUSTOMER_CONTACTS.name, 40), (CUSTOMER_CONTACTS.name, 1), ("order.events", 40)]
    ):
        await db.execute(
            """
            INSERT INTO parked_messages (state, source_topic, source_partition, source_offset,
                                         headers, payload, reason, attempts, parked_at)
            VALUES ('parked', $1, 0, $2, '{}', 'anna', 'a test', 1, now() - $3::interval)
            """,
            topic,
            offset,
            days * DAY,
        )
    await forget_payloads(db, CUSTOMER_CONTACTS.name, datetime.now(UTC) - 30 * DAY)
    found = await db.fetch("SELECT state, payload FROM parked_messages ORDER BY source_offset")
    assert [tuple(row) for row in found] == [
        ("discarded", None),
        ("parked", b"anna"),
        ("parked", b"anna"),
    ]


async def test_mail_without_a_contact_is_parked_when_it_is_no_news_any_more(db: Connection) -> None:
    now = datetime.now(UTC)
    mails = [
        Mail(uuid4(), Kind.ORDER_CONFIRMED, 2, {}, news_at) for news_at in (now - 3 * DAY, now)
    ]
    await store.queue_mails(db, mails)
    assert await store.park_stale_mails(db, now - 2 * DAY) == 1
    assert await store.count_mails(db) == {"queued": 1, "parked": 1}
    reason = await db.fetchval("SELECT reason FROM mails WHERE state = 'parked'")
    assert reason == "too old to be of use; no contact came"


async def test_housekeeping_deletes_so_many_at_once(db: Connection) -> None:
    now = datetime.now(UTC)
    await store.save_contacts(db, {uuid4(): "anna@example.com" for _ in range(5)}, now - 40 * DAY)
    await store.forget_contacts(db, now - 30 * DAY, limit=2)
    assert await db.fetchval("SELECT count(*) FROM contacts") == 3


async def test_mails_that_cannot_be_read_hold_up_no_other(db: Connection) -> None:
    """One of a kind of a newer release is left to it; one without facts fails when it is made."""
    now = datetime.now(UTC)
    newer, edited, good = (uuid4() for _ in range(3))
    await store.save_contacts(db, dict.fromkeys((newer, edited, good), "anna@example.com"), now)
    await store.queue_mails(
        db, [Mail(order_id, Kind.ORDER_CONFIRMED, 1, {}, now) for order_id in (newer, edited, good)]
    )
    await db.execute("ALTER TABLE mails DROP CONSTRAINT valid_mail_kind")
    await db.execute("UPDATE mails SET kind = 'parcel_tracked' WHERE order_id = $1", newer)
    await db.execute("UPDATE mails SET facts = NULL WHERE order_id = $1", edited)
    claimed = await store.claim_mails(db, 10, DAY, uuid4())  # type: ignore[arg-type]
    assert {mail.order_id for mail in claimed} == {edited, good}
    assert await db.fetchval("SELECT attempts FROM mails WHERE order_id = $1", newer) == 0
