"""PostgreSQL as a primary and a streaming standby, each a server of its own on 127.0.0.1.

Both take their settings from `deploy/postgres/`. A service's address names both servers, so that
its connections go to the one that takes writes.
"""

from __future__ import annotations

import shutil
import subprocess
import time

import psutil

from deploy.local.home import Home
from deploy.local.postgres import SECONDS_TO_START, Postgres, programs
from deploy.local.process import account, unprivileged

APPLICATION = "standby"
"""The name under which the standby replicates, as in `synchronous_standby_names`."""


class ReplicatedPostgres(Postgres):
    """The primary of a home, with its standby beside it."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.standby = Standby(home, self)

    def dsn(self, database: str, port: int | None = None, *, role: str | None = None) -> str:
        """The address of a service's database on whichever server is the primary."""
        return with_standby(super().dsn(database, port, role=role), self, self.standby)

    def replicate(self, *, synchronous: bool) -> None:
        """Start the standby. With `synchronous`, a commit waits for it from now on."""
        self.standby.start()
        if synchronous:
            self.superuser(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({APPLICATION})'")
            self.superuser("SELECT pg_reload_conf()")
        self.await_answer(
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' "
            f"AND sync_state = '{'quorum' if synchronous else 'async'}'",
            "1",
        )

    def lose(self) -> None:
        """End all processes of the server at once, as the loss of its machine does."""
        server = psutil.Process(self.process.pid)
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def superuser(self, statement: str) -> str:
        """The first value that a statement returns to a superuser of this server."""
        done = self._psql("-At", "-c", statement)
        self._checked(done, f"{statement} failed")
        return done.stdout.strip()

    def await_answer(self, query: str, answer: str) -> None:
        """Return once the server gives that answer; raises StackError after a minute."""
        _await_answer(self, query, answer)


class Standby(Postgres):
    """A copy of a primary that follows it until it is promoted."""

    def __init__(self, home: Home, primary: Postgres) -> None:
        super().__init__(home, "postgres-standby")
        self._primary = primary

    def wait_ready(self) -> None:
        """Returns once the server takes statements."""
        self.process.wait_until(
            lambda: self._psql("-c", "SELECT").returncode == 0,
            seconds=SECONDS_TO_START,
            todo="read the log",
        )

    def cut_off(self) -> None:
        """Stop receiving the primary's log: what it commits from now on is not here."""
        self.superuser("ALTER SYSTEM SET primary_conninfo = ''")
        self.superuser("SELECT pg_reload_conf()")
        _await_answer(self, "SELECT count(*) FROM pg_stat_wal_receiver", "0")

    def promote(self) -> None:
        """Returns once the server takes writes."""
        self.superuser("SELECT pg_promote(true, 60)")
        _await_answer(self, "SELECT pg_is_in_recovery()", "f")

    def superuser(self, statement: str) -> str:
        """The first value that a statement returns to a superuser of this server."""
        done = self._psql("-At", "-c", statement)
        self._checked(done, f"{statement} failed")
        return done.stdout.strip()

    def _initialise(self, initdb: list[str]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        shutil.chown(self._folder, *account())
        folder = programs()
        source = f"{self._primary.admin_dsn}?application_name={APPLICATION}"
        done = subprocess.run(
            [
                *unprivileged([folder, self._folder]),
                str(folder / "pg_basebackup"),
                *("--dbname", source, "--pgdata", str(self._data)),
                *("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream"),
            ],
            capture_output=True,
            text=True,
        )
        self._checked(done, "the standby could not be copied from the primary")


def with_standby(dsn: str, primary: Postgres, standby: Postgres) -> str:
    """A primary's address that finds the standby once that is the primary."""
    first, second = (f"127.0.0.1:{server.port}" for server in (primary, standby))
    return f"{dsn.replace(first, f'{first},{second}')}?target_session_attrs=read-write"


def _await_answer(server: ReplicatedPostgres | Standby, query: str, answer: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while server.superuser(query) != answer:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server.name} does not answer {answer} to {query}")
        time.sleep(0.1)
