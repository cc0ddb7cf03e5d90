"""Takes Kafka's consumers back to a database server that has lost its last commits.

    python -m deploy.rewind begin --postgres postgresql://postgres@db/postgres --kafka kafka:9092
    python -m deploy.rewind wait order inventory --kafka kafka:9092
    python -m deploy.rewind webhooks --since TIME --kafka kafka:9092

For a promoted standby what `deploy/compose/restore.sh` does for a backup; the order of the steps is
in docs/deployment.md, "After a failover that lost commits". No service may run during `begin`, and
payment must not during `webhooks`. All databases have to be on the one server.
"""

import asyncio
import os
import sys
from collections.abc import Collection, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.topics import STRIPE_WEBHOOKS
from services.kit.lag import group_lags

T = TypeVar("T")

DATABASES = ("inventory", "payment", "gateway", "notification", "ops", "orders")
GROUPS = ("order", "inventory", "payment", "gateway", "notification", "ops")
UNDER_WAY = timedelta(minutes=15)
"""Longer than a message takes from a service's commit to its handling."""


class Refused(Exception):  # noqa: N818
    """The server or the group is not in the state that the step needs; the text says why."""


async def begin(
    postgres: str,
    kafka: str,
    last_commit: datetime | None = None,
    *,
    databases: Collection[str] = DATABASES,
) -> datetime:
    """Note the lost time in each database, move the deadlines on by it, and let all groups read
    again from a while before it; payment no webhooks yet. Returns the time to read from.

    `postgres` is a superuser's address of any database of the server. `last_commit`: of the last
    transaction that the server has; by default, what it says itself.

    Raises:
        Refused: the server does not know its last commit, or a consumer still runs.
    """
    span = await _lost_time(postgres, last_commit)
    for group in GROUPS:
        await _require_no_members(kafka, group)
    since = span[0] - UNDER_WAY
    for group in GROUPS:
        await read_again(kafka, group, since)
    await read_again(kafka, "payment", None, topics=[STRIPE_WEBHOOKS.name])
    # Last, and the deadlines at the very end: what failed before can be repeated.
    for database in databases:
        await _note(postgres, database, span)
    return since


async def webhooks(kafka: str, since: datetime) -> None:
    """Let payment read Stripe's events again, once the payments are there that they are about."""
    await _require_no_members(kafka, "payment")
    await read_again(kafka, "payment", since, topics=[STRIPE_WEBHOOKS.name])


async def wait(kafka: str, groups: Collection[str]) -> None:
    """Return when none of the groups is behind, twice in a row."""
    quiet = 0
    while quiet < 2:
        behind = [lag for lag in await group_lags(kafka, groups, with_age=False) if lag.records]
        quiet = 0 if behind else quiet + 1
        await asyncio.sleep(1)


async def read_again(
    kafka: str, group: str, since: datetime | None, *, topics: Collection[str] | None = None
) -> None:
    """Set a group's offsets to a time, None for the end, on these topics or on all of its own."""
    offsets = await _offsets(kafka, group)
    places = [place for place in offsets if topics is None or place.topic in topics]
    if not places:
        return
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(places)
        chosen: dict[TopicPartition, int] = await consumer.end_offsets(places)
        if since is not None:
            at = int(since.timestamp() * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(places, at))
            chosen |= {place: each.offset for place, each in found.items() if each is not None}
        await consumer.commit(chosen)
    finally:
        await consumer.stop()


async def _lost_time(postgres: str, last_commit: datetime | None) -> tuple[datetime, datetime]:
    db = await asyncpg.connect(postgres, timeout=10)
    try:
        row = await db.fetchrow(
            "SELECT pg_is_in_recovery() AS standby, pg_last_xact_replay_timestamp() AS last, "
            "clock_timestamp() AS now"
        )
    finally:
        await db.close()
    assert row is not None  # noqa: S101  # for the type checker: a SELECT without FROM is one row
    if row["standby"]:
        raise Refused("the server is a standby: promote it first")
    last = last_commit or row["last"]
    if last is None:
        raise Refused(
            "the server has restarted since its promotion and does not know its last commit: look "
            "for `last completed transaction was at log time` in its log, and give --last-commit"
        )
    return last.astimezone(UTC), row["now"].astimezone(UTC)


async def _note(postgres: str, database: str, span: tuple[datetime, datetime]) -> None:
    db = await asyncpg.connect(postgres, database=database, timeout=10)
    try:
        known = await db.fetchval("SELECT current_setting('orderflow.undone', true)")
        spans = ",".join(filter(None, [known, "/".join(time.isoformat() for time in span)]))
        async with db.transaction():
            await db.execute(f"ALTER DATABASE {database} SET orderflow.undone = '{spans}'")
            if database == "orders":
                # Customers keep the time that they had to pay.
                await db.execute(
                    """
                    UPDATE orders SET expires_at = expires_at + $1, deadline_at = deadline_at + $1
                     WHERE deadline_at IS NOT NULL
                    """,
                    span[1] - span[0],
                )
    finally:
        await db.close()


async def _offsets(kafka: str, group: str) -> dict[TopicPartition, object]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        return dict(await admin.list_consumer_group_offsets(group))
    finally:
        await admin.close()


async def _require_no_members(kafka: str, group: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((_error, _group, _state, _protocol_type, _protocol, members, *_),) = answer.groups
    if members:
        raise Refused(f"a consumer of group {group} still runs: stop the service first")


def _run(step: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(step)
    except (Refused, OSError, KafkaError, asyncpg.PostgresError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


_app = typer.Typer(add_completion=False, no_args_is_help=True)
_Postgres = Annotated[str, typer.Option(help="A superuser's address of the promoted server.")]
_Kafka = Annotated[str, typer.Option(help="host:port, comma-separated.")]
_BROKERS = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")


@_app.command(name="begin")
def _begin(
    postgres: _Postgres,
    kafka: _Kafka = _BROKERS,
    last_commit: Annotated[
        datetime | None, typer.Option(help="Of the server's last transaction, in UTC.")
    ] = None,
) -> None:
    """Note the lost time, and let all services read again."""
    known = None if last_commit is None else last_commit.replace(tzinfo=UTC)
    since = _run(begin(postgres, kafka, known))
    print(f"noted; later give --since {since:%Y-%m-%dT%H:%M:%S}")


@_app.command(name="wait")
def _wait(groups: list[str], kafka: _Kafka = _BROKERS) -> None:
    """Return when these services have handled all that they read again."""
    _run(wait(kafka, groups))


@_app.command(name="webhooks")
def _webhooks(
    since: Annotated[datetime, typer.Option(help="As `begin` printed it, in UTC.")],
    kafka: _Kafka = _BROKERS,
) -> None:
    """Let payment read Stripe's events again."""
    _run(webhooks(kafka, since.replace(tzinfo=UTC)))


if __name__ == "__main__":
    _app()
