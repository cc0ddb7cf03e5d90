"""Schema and inbox look after themselves, with any number of replicas."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from contracts.message import new_message_id, sent_at_ms
from services.kit import inbox
from services.kit.db import open_pool
from services.kit.errors import is_infrastructure
from services.kit.migrate import KIT_MIGRATIONS, MigrationFailed, migrate


async def test_three_replicas_that_start_at_once_migrate_once(
    database: str, tmp_path: Path
) -> None:
    (tmp_path / "0101_slow.sql").write_text(
        "-- migrate:up\nSELECT pg_sleep(0.3);\nCREATE TABLE slow (id int);\n-- migrate:down\n"
    )
    await asyncio.gather(*(migrate(database, tmp_path) for _ in range(3)))
    db = await asyncpg.connect(database)
    versions = await db.fetch("SELECT version FROM schema_migrations ORDER BY version")
    await db.close()
    kit = sorted(path.name.partition("_")[0] for path in KIT_MIGRATIONS.glob("*.sql"))
    assert [row["version"] for row in versions] == [*kit, "0101"]


async def test_a_broken_migration_says_why_and_leaves_nothing_behind(
    database: str, tmp_path: Path
) -> None:
    (tmp_path / "0101_broken.sql").write_text(
        "-- migrate:up\nCREATE TABLE half (id int);\nSELECT oops;\n-- migrate:down\n"
    )
    with pytest.raises(MigrationFailed, match="oops"):
        await migrate(database, tmp_path)
    db = await asyncpg.connect(database)
    assert await db.fetchval("SELECT to_regclass('half')") is None
    await db.close()


async def test_a_migration_by_a_newer_replica_costs_a_running_one_a_repeat(database: str) -> None:
    db = await asyncpg.connect(database)
    pool = await open_pool(database, size=2, application="test")

    async def look() -> list[asyncpg.Record]:
        async with pool.acquire() as held, held.transaction():
            return await held.fetch("SELECT * FROM changing")

    try:
        await db.execute("CREATE TABLE changing (id int)")
        await look()
        await db.execute("ALTER TABLE changing ADD COLUMN later int")
        with pytest.raises(asyncpg.InvalidCachedStatementError) as raised:
            await look()
        assert is_infrastructure(raised.value)
        assert await look() == []
    finally:
        await pool.close()
        await db.close()


async def partitions(db: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    rows = await db.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'inbox'::regclass"
    )
    return {row["name"] for row in rows}


async def test_the_inbox_makes_tomorrows_partition_and_drops_what_is_forgotten(
    database: str, tmp_path: Path
) -> None:
    await migrate(database, tmp_path)
    db = await asyncpg.connect(database)
    today = datetime.now(UTC)
    names = {f"inbox_{today + timedelta(days=days):%Y%m%d}" for days in range(-1, 4)}
    assert await partitions(db) == names | {"inbox_default"}

    await db.execute("SELECT maintain_inbox(interval '14 days', 6)")
    later = {f"inbox_{today + timedelta(days=days):%Y%m%d}" for days in range(-1, 7)}
    assert await partitions(db) == later | {"inbox_default"}

    await inbox.maintain(db, timedelta(days=-3))  # forget even what is to come
    assert f"inbox_{today:%Y%m%d}" not in await partitions(db)
    await db.close()


async def test_an_id_from_a_fast_clock_moves_into_its_partition_when_its_day_comes(
    database: str, tmp_path: Path
) -> None:
    await migrate(database, tmp_path)
    db = await asyncpg.connect(database)
    in_a_week = new_message_id().int + (7 * 86_400_000 << 80)
    early = UUID(int=in_a_week)
    assert sent_at_ms(early) / 1000 > time.time() + 6 * 86_400

    assert (await inbox.admit(db, [early], [])).known == set()
    await db.execute("SELECT maintain_inbox(interval '14 days', 8)")
    assert await db.fetchval("SELECT count(*) FROM inbox_default") == 0
    assert (await inbox.admit(db, [early], [])).known == {early}
    await db.close()
