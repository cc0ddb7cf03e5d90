"""Brings a service's database to the newest schema, by dbmate.

The kit's tables and the service's own are one sequence of files. Any number of replicas may start
at once: an advisory lock lets one migrate while the others wait.
"""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from services.kit.db import Connection
from services.kit.errors import KitError, is_infrastructure
from services.kit.telemetry import log

KIT_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x0DE2F10  # any number, as long as all replicas use the same


class MigrationFailed(KitError):  # noqa: N818
    """dbmate refused; its own words are in the message."""


async def migrate(dsn: str, migrations: Path) -> None:
    """Apply what is missing.

    Raises:
        MigrationFailed: a migration does not apply; nothing of it is left behind.
    """
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        missing = _versions(KIT_MIGRATIONS, migrations) - await _applied(connection)
        if missing:
            await _dbmate(dsn, migrations)
            log.info("database migrated", applied=sorted(missing))
    finally:
        await connection.close()


def _versions(*folders: Path) -> set[str]:
    return {
        match[0]
        for folder in folders
        for path in folder.glob("*.sql")
        if (match := re.match(r"\d+", path.name))
    }


async def _applied(connection: Connection) -> set[str]:
    if await connection.fetchval("SELECT to_regclass('schema_migrations') IS NULL"):
        return set()
    rows = await connection.fetch("SELECT version FROM schema_migrations")
    return {row["version"] for row in rows}


async def one_host(dsn: str) -> str:
    """The address of the primary alone, from one that names several servers: dbmate knows no list
    of hosts, and no `target_session_attrs`.

    Raises:
        MigrationFailed: none of them is a primary.
    """
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    options = "&".join(
        option for option in parts.query.split("&") if not option.startswith("target_session_attrs")
    )
    addresses = [
        urlunsplit(parts._replace(netloc=f"{login}{at}{host}", query=options))
        for host in hosts.split(",")
    ]
    if len(addresses) == 1:
        return addresses[0]
    for address in addresses:
        try:
            connection = await asyncpg.connect(
                address, timeout=10, target_session_attrs=SessionAttribute.primary
            )
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.info("migrations look for the primary", error=repr(error))
            continue
        await connection.close()
        return address
    raise MigrationFailed("no server of the address is a primary")


async def _dbmate(dsn: str, migrations: Path) -> None:
    beside_python = Path(sys.executable).parent / "dbmate"
    program = str(beside_python) if beside_python.exists() else shutil.which("dbmate")
    if program is None:
        raise MigrationFailed("dbmate is not installed; install requirements.lock again")
    url = await one_host(dsn)
    url += "" if "sslmode=" in url else ("&" if "?" in url else "?") + "sslmode=disable"
    process = await asyncio.create_subprocess_exec(
        program,
        *("--url", url, "--no-dump-schema"),
        *("--migrations-dir", str(KIT_MIGRATIONS), "--migrations-dir", str(migrations)),
        "migrate",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise MigrationFailed(output.decode(errors="replace").strip())
