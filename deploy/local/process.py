"""One process of the stack: started detached, found again by any later command, never mistaken.

A process is known by its id and its start time, both kept in `<home>/run/<name>.json`: an id
alone may belong to somebody else by the time it is signalled.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.local.errors import StackError
from deploy.local.home import PROJECT, Home

# A start time is derived from the clock, which may be adjusted while the process runs.
START_TIME_TOLERANCE_SECONDS = 2.0
LOG_BYTES_KEPT = 50 * 2**20

# Our own children, also those that have ended; children of earlier commands belong to init.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Process:
    """A named process of a home, running or not."""

    def __init__(self, home: Home, name: str) -> None:
        self.name = name
        self.log = home.logs / f"{name}.log"
        self._record = home.run / f"{name}.json"

    @property
    def pid(self) -> int | None:
        """The process id, or None if it does not run."""
        process = self._find()
        return int(process.pid) if process else None

    @property
    def exit_status(self) -> int | None:
        """How it ended: -9 after SIGKILL, as subprocess has it. None while it runs, and for a
        process that another command started."""
        record = self._read()
        child = _children.get(int(str(record["pid"]))) if record else None
        return child.poll() if child else None

    @property
    def settings(self) -> str | None:
        """What was passed as `settings` to `start`, if there is a record of a start."""
        record = self._read()
        return str(record["settings"]) if record else None

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        settings: str = "",
        folder: Path = PROJECT,
    ) -> None:
        """Starts the command in a session of its own: it outlives us and gets no Ctrl-C of ours.
        Python finds the project's modules in `folder`."""
        self.log.parent.mkdir(exist_ok=True)
        self._record.parent.mkdir(exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        _children[child.pid] = child
        started = psutil.Process(child.pid).create_time()
        record = {"pid": child.pid, "started": started, "settings": settings}
        new = self._record.with_suffix(".new")
        new.write_text(json.dumps(record))
        new.replace(self._record)

    def send(self, number: int) -> None:
        """Sends a signal. Raises StackError if the process does not run."""
        process = self._find()
        if process is None:
            raise StackError(
                f"{self.name} is not running", todo="`make status` shows what runs", log=self.log
            )
        process.send_signal(number)
        if number == signal.SIGKILL:
            self._wait_gone(10)

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 20) -> bool:
        """Stops the process; True if it ended by itself within that time, else it was killed."""
        process = self._find()
        clean = True
        if process is not None:
            # A stopped (SIGSTOP) process takes no other signal until it goes on.
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            clean = self._wait_gone(seconds)
            if not clean:
                process.kill()
                self._wait_gone(10)
        self.forget()
        return clean

    def forget(self) -> None:
        """Removes the record of a process that has ended."""
        self._record.unlink(missing_ok=True)

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, todo: str) -> None:
        """Returns as soon as `ready()`; raises StackError if the process ends or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid is None:
                raise StackError(f"{self.name} ended while starting", todo=todo, log=self.log)
            if time.monotonic() > deadline:
                raise StackError(
                    f"{self.name} was not ready within {seconds:.0f} s", todo=todo, log=self.log
                )
            time.sleep(0.05)

    def _wait_gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _read(self) -> dict[str, object] | None:
        if not self._record.exists():
            return None
        record: dict[str, object] = json.loads(self._record.read_text())
        return record

    def _find(self) -> psutil.Process | None:
        record = self._read()
        if record is None:
            return None
        pid, started = int(str(record["pid"])), float(str(record["started"]))
        child = _children.get(pid)
        if child is not None and child.poll() is not None:
            return None
        try:
            process = psutil.Process(pid)
            same = abs(process.create_time() - started) < START_TIME_TOLERANCE_SECONDS
            # While a killed program's other threads still end, its first one is a zombie already.
            alive = process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
        except psutil.NoSuchProcess:
            return None
        return process if same and alive else None


def unprivileged(paths: Sequence[Path]) -> list[str]:
    """The command prefix under which a server that refuses to run as root is started.

    Empty for an ordinary user. For root: the account `nobody`, which exists everywhere, so that
    nothing has to be created on the machine. Where a folder above one of `paths` is closed to
    that account (a checkout under a private folder), the process gets the right to read through
    it instead of the folder being opened for everybody.
    """
    if os.geteuid() != 0:
        return []
    nobody = account()
    prefix = ["setpriv", f"--reuid={nobody[0]}", f"--regid={nobody[1]}", "--clear-groups"]
    folders = {folder for path in paths for folder in path.parents}
    if any(not folder.stat().st_mode & 0o001 for folder in folders):
        prefix += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
        # Without this bit access(2), by which PostgreSQL finds its programs, ignores that right.
        prefix += ["--securebits=+no_setuid_fixup"]
    return prefix


def account() -> tuple[int, int]:
    """(user id, group id) that `unprivileged` processes run as: who must own their data."""
    if os.geteuid() != 0:
        return os.getuid(), os.getgid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
