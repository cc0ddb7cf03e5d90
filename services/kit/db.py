"""The connection pool of a service's own database."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from services.kit.errors import Retry, is_infrastructure
from services.kit.settings import explained
from services.kit.telemetry import STATEMENTS, log

# asyncpg's classes are generic for type checkers only, so the aliases are text.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

T = TypeVar("T")

__all__ = ["Connection", "Pool", "is_infrastructure", "open_pool", "wait_for_database"]

_REFUSALS = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,  # and its child, the wrong password
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
)
"""The server is there and will not let us in, however long we wait."""


def wait_for_database(
    dsn: str,
    *,
    setting: str = "DATABASE_URL",
    check: Callable[[Connection], Awaitable[list[str]]] | None = None,
) -> None:
    """Return once the server lets us in and is no standby; leave with an explanation where it never
    will, which names the `setting` that the address is from. `check` returns what is wrong with
    the server, a line each, if it must not be used.

    For the time before uvicorn serves, which hears SIGTERM only then; and the first process of a
    container has nobody else who would end it.
    """
    try:
        asyncio.run(_reach(dsn, setting, check))
    except asyncio.CancelledError:
        log.info("stopped while waiting for the database")
        raise SystemExit(0) from None


async def _reach(
    dsn: str, setting: str, check: Callable[[Connection], Awaitable[list[str]]] | None
) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # for the type checker: a coroutine is run by one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        connection = await _patiently(lambda: _primary(dsn))
    except _REFUSALS as error:
        raise explained([f"{setting}: {error}"]) from None
    try:
        problems = await check(connection) if check is not None else []
    finally:
        await connection.close()
    if problems:
        raise explained([f"{setting}: {problem}" for problem in problems])


async def _primary(dsn: str) -> "asyncpg.Connection[asyncpg.Record]":
    connection = await asyncpg.connect(dsn, timeout=10)
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        await connection.close()
        raise Retry("the server is a standby, or is still being restored")
    return connection


async def open_pool(
    dsn: str,
    *,
    size: int,
    application: str,
    admit: Callable[[Connection], Awaitable[None]] | None = None,
) -> Pool:
    """Connect, waiting for the server as long as it takes.

    `application` is the name that `pg_stat_activity` shows. `admit` is called for each new
    connection, also later ones; what it raises closes the connection.
    """

    async def begin(connection: Connection) -> None:
        if admit is not None:
            await admit(connection)
        await _count_statements(connection)

    return await _patiently(
        lambda: asyncpg.create_pool(
            dsn,
            min_size=2,
            max_size=size,
            command_timeout=60,
            timeout=10,
            init=begin,
            reset=_nothing_to_reset,
            server_settings={
                "application_name": application,
                "timezone": "UTC",
                # Plans for arrays of unknown length do not get better by planning again.
                "plan_cache_mode": "force_generic_plan",
                # A client that hangs in mid-transaction must not hold locks for ever.
                "idle_in_transaction_session_timeout": "60s",
            },
        )
    )


async def _patiently(connect: Callable[[], Awaitable[T]]) -> T:
    """What `connect` returns, once the server is there. Raises what waiting does not mend."""
    pause = 0.2
    while True:
        try:
            return await connect()
        except _REFUSALS:
            raise
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("waiting for the database", error=str(error), pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)


async def _count_statements(connection: Connection) -> None:
    def count(_record: Any) -> None:
        STATEMENTS.inc()

    connection.add_query_logger(count)


async def _nothing_to_reset(_connection: Connection) -> None:
    """Spare the round trip of asyncpg's own reset: only `Service.transaction` uses the pool, and
    it leaves no session state behind."""
