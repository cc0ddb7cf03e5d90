"""A standby that takes over: with synchronous replication nothing is lost and the service goes on;
commits that an asynchronous one has not received are noticed, and the service stops."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import asyncpg
import pytest
from prometheus_client import REGISTRY

from deploy import rewind
from deploy.local.home import PROJECT, Home
from services.kit.commit_markers import HistoryUnverified, Memory
from services.kit.db import open_pool, wait_for_database
from services.kit.durability import Durability, weaknesses
from services.kit.failover import (
    FailoverGuard,
    ForgottenCommits,
    loss,
    markers_in_kafka,
)
from services.kit.migrate import one_host
from services.kit.service import Service
from services.kit.settings import ServiceSettings
from services.kit.undone import Undone
from tests.kit.conftest import Bench, effects, eventually
from tests.replicated import ReplicatedPostgres, with_standby

_NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def _marker(made_at: datetime) -> UUID:
    return UUID(int=int(made_at.timestamp() * 1000) << 80 | 7 << 76)


def _memory(*missing: datetime, timeline: int = 1, synchronous: bool = False) -> Memory:
    return Memory(timeline, [_marker(time) for time in missing], 1, synchronous, _NOW)


def test_a_marker_that_only_kafka_has_is_a_loss() -> None:
    found = loss(_memory(_NOW + 3 * _SECOND, _NOW + 2 * _SECOND), Undone(""))
    assert found is not None
    assert "until 2026-11-30 12:00:03 UTC" in found
    assert "until 2026-11-30 12:00:00 UTC" in found
    # Also where the database has newer ones, of a replica that knew nothing of the failover.
    assert loss(_memory(_NOW - _SECOND), Undone(""))
    # Also where replication was synchronous: the check does not rely on what the server says.
    assert loss(_memory(_NOW + _SECOND, timeline=2, synchronous=True), Undone(""))


def test_a_promotion_is_a_loss_unless_commits_waited_for_the_standby() -> None:
    found = loss(_memory(timeline=2), Undone(""))
    assert found is not None
    assert "timeline 1 to 2" in found
    assert loss(_memory(timeline=2, synchronous=True), Undone("")) is None
    assert loss(_memory(), Undone("")) is None
    assert loss(Memory(2, []), Undone("")) is None


def test_what_the_procedure_has_dealt_with_is_no_loss() -> None:
    undone = Undone(f"{_NOW.isoformat()}/{(_NOW + 10 * _SECOND).isoformat()}")
    assert loss(_memory(_NOW + 3 * _SECOND, timeline=2), undone) is None
    assert loss(_memory(_NOW + 11 * _SECOND, timeline=2), undone)


@pytest.fixture
def replicated() -> Iterator[ReplicatedPostgres]:
    """A primary with databases and roles; its standby is not started."""
    home = Home(PROJECT / ".local" / f"failover-{uuid4().hex[:8]}")
    server = ReplicatedPostgres(home)
    try:
        server.start()
        yield server
    finally:
        for each in (server.standby, server):
            each.stop()
        shutil.rmtree(home.path)


@pytest.fixture
def replicated_bench(bench: Bench, replicated: ReplicatedPostgres) -> Bench:
    """The bench on the replicated server; the address names both."""
    bench.dsn = replicated.dsn("inventory")
    return bench


async def _handled(bench: Bench, service: Service, reason: str, count: int) -> None:
    """One more message has its effect, and Kafka has its offset."""
    await bench.send(bench.order(reason))
    await eventually(lambda: effects(service), lambda rows: len(rows) == count)


async def _acknowledged(service: Service) -> set[UUID]:
    return await markers_in_kafka(service.settings.kafka_bootstrap_servers, service.name)


async def test_after_a_synchronous_failover_the_service_goes_on(
    replicated_bench: Bench, replicated: ReplicatedPostgres
) -> None:
    bench = replicated_bench
    replicated.replicate(synchronous=True)
    async with bench.running(production=True) as service:
        await _handled(bench, service, "before", 1)
        replicated.lose()
        assert "database" in await service.readiness()
        replicated.standby.promote()
        await eventually(service.readiness, lambda missing: missing == {}, seconds=30)
        await _handled(bench, service, "after", 2)
    # A restart reads the marker of the new timeline.
    async with bench.running() as service:
        await _handled(bench, service, "restarted", 3)


async def test_commits_that_a_promoted_standby_lacks_stop_the_service(
    replicated_bench: Bench, replicated: ReplicatedPostgres
) -> None:
    """Both ways: the replica that sees the failover, and one that starts after it."""
    bench = replicated_bench
    replicated.replicate(synchronous=False)
    async with bench.running() as service:
        await _handled(bench, service, "kept", 1)
        replicated.standby.cut_off()
        known = await _acknowledged(service)
        await bench.send(
            bench.order("decided by a service")._replace(source="order"),
            bench.order("asked by a customer")._replace(source="gateway"),
        )
        await eventually(lambda: effects(service), lambda rows: len(rows) == 3)
        await eventually(lambda: _acknowledged(service), lambda now: bool(now - known))
        replicated.lose()
        replicated.standby.promote()
        missing = await eventually(
            service.readiness, lambda missing: "Kafka has" in missing.get("database", "")
        )
        assert "After a failover that lost commits" in missing["database"]
        with pytest.raises(asyncpg.InterfaceError):
            async with service.transaction():
                raise AssertionError("the service still works on the promoted server")
    with pytest.raises(ForgottenCommits, match="Kafka has effects of commits until"):
        async with bench.service().lifespan():
            raise AssertionError("the service starts on the promoted server")
    # The procedure: what was requested in the lost time is handled again, the rest is skipped.
    admin = replicated.standby.admin_dsn
    await rewind.begin(admin, bench.kafka, databases=["inventory"])
    async with bench.running() as service:
        await bench.send(bench.order("asked later")._replace(source="gateway"))
        rows = await eventually(lambda: effects(service), lambda rows: len(rows) >= 3)
    assert {reason for _, reason in rows} == {"kept", "asked by a customer", "asked later"}


async def test_production_refuses_a_server_that_can_lose_commits(
    bench: Bench, replicated: ReplicatedPostgres
) -> None:
    db = await asyncpg.connect(replicated.dsn("inventory"))
    settings = bench.settings(production=True)
    try:
        [found] = await weaknesses(db, settings)
        assert "synchronous_standby_names is empty" in found
        assert "DATABASE_SYNCHRONOUS_STANDBY=waived" in found
        assert await weaknesses(db, bench.settings()) == []
        waived = bench.settings(production=True, database_synchronous_standby="waived")
        assert await weaknesses(db, waived) == []
        for level in ("local", "remote_write"):
            await db.execute(f"SET synchronous_commit = {level}")
            assert f"synchronous_commit is {level}" in "".join(await weaknesses(db, settings))
            assert await weaknesses(db, waived) == []
        # Without these, even a restart of the one server loses or damages commits.
        await db.execute("SET synchronous_commit = off")
        replicated.superuser("ALTER SYSTEM SET fsync = off")
        replicated.superuser("ALTER SYSTEM SET full_page_writes = off")
        replicated.superuser("SELECT pg_reload_conf()")
        replicated.await_answer("SHOW full_page_writes", "off")
        assert len(await weaknesses(db, waived)) == 3
        # While it runs, a service reports those of its own sessions, and that they are gone.
        pool = await open_pool(replicated.dsn("inventory"), size=2, application="test")
        durability = Durability(waived, pool)
        await durability.check()
        assert REGISTRY.get_sample_value("orderflow_database_weaknesses") == 2
        for name in ("fsync", "full_page_writes"):
            replicated.superuser(f"ALTER SYSTEM RESET {name}")
        replicated.superuser("SELECT pg_reload_conf()")
        replicated.await_answer("SHOW full_page_writes", "on")
        await durability.check()
        assert REGISTRY.get_sample_value("orderflow_database_weaknesses") == 0
        await pool.close()
    finally:
        await db.close()


def test_a_refused_server_is_one_line_and_exit_code_78(
    replicated: ReplicatedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ServiceSettings(
        database_url=replicated.dsn("inventory"),
        kafka_bootstrap_servers="127.0.0.1:9",
        production=True,
    )
    with pytest.raises(SystemExit) as stopped:
        wait_for_database(settings.database_url, check=partial(weaknesses, settings=settings))
    assert stopped.value.code == 78
    line, _ = capsys.readouterr().err.splitlines()
    assert line.startswith("setting DATABASE_URL: synchronous_standby_names is empty")


async def test_a_standby_is_not_used(bench: Bench, replicated: ReplicatedPostgres) -> None:
    replicated.replicate(synchronous=False)
    bench.dsn = replicated.standby.dsn("inventory")
    guard = FailoverGuard("inventory", bench.settings())
    db = await asyncpg.connect(bench.dsn)
    try:
        with pytest.raises(HistoryUnverified, match="is a standby"):
            await guard.admit(db)
        replicated.standby.promote()
        # A connection from before the promotion takes writes after it.
        await guard.admit(db)
    finally:
        await db.close()


async def test_migrations_find_the_primary_among_the_servers(
    replicated: ReplicatedPostgres,
) -> None:
    alone = replicated.standby.dsn("inventory")
    assert await one_host(alone) == alone
    replicated.replicate(synchronous=False)
    # The standby is named first, and is up.
    both = with_standby(alone, replicated.standby, replicated) + "&application_name=migrations"
    chosen = await one_host(both)
    assert f"@127.0.0.1:{replicated.port}/" in chosen
    assert chosen.endswith("?application_name=migrations")
