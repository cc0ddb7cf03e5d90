"""The folder that one local stack lives in: paths, kept ports, kept secrets, and its lock.

A home keeps its ports and secrets for as long as it exists, so that addresses written down
elsewhere (a browser tab, a `.env` file) survive `down` and `up`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deploy.local.errors import StackError

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".local" / "cache"

# Below the range from which Linux and macOS hand out ports for outgoing connections: a kept port
# cannot be taken by somebody's connection while the stack is down.
PORTS = range(20_000, 32_000)

# Kafka's segments, PostgreSQL's write-ahead log (up to max_wal_size) and logs.
FREE_BYTES = 4 * 2**30


class Home:
    """Paths and kept settings of one stack. Creating it creates the folder."""

    def __init__(self, path: Path, say: Callable[[str], None] = print) -> None:
        self.path = path.resolve()
        self._say = say
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.stack_file = self.path / "stack.json"
        self._settings_file = self.path / "settings.json"
        self._mutex = threading.Lock()
        self.path.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the home against other processes. Raises StackError if one of them has it."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise StackError(
                    f"the stack in {self.path} is in use by another command (process {owner})",
                    todo="wait until that command has ended, or end it",
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def check_disk(self) -> None:
        """Raises StackError if the disk is too full for servers that must not lose writes."""
        free = shutil.disk_usage(self.path).free
        if free < FREE_BYTES:
            raise StackError(
                f"only {free / 2**30:.1f} GiB are free under {self.path}; "
                f"the stack needs {FREE_BYTES / 2**30:.0f} GiB",
                todo="make room (`make clean` removes the stack's data), then start again",
            )

    def port(self, name: str) -> int:
        """The port kept for `name`, chosen at the first call."""
        with self._mutex:
            settings = self._read()
            ports: dict[str, int] = settings.setdefault("ports", {})
            if name not in ports:
                ports[name] = _free_port(set(ports.values()))
                self._write(settings)
            return ports[name]

    def claim_port(self, name: str) -> int:
        """The port for a server about to start: the kept one, or a new one if that is taken."""
        taken = self.port(name)
        if _is_free(taken):
            return taken
        with self._mutex:
            settings = self._read()
            del settings["ports"][name]
            self._write(settings)
        port = self.port(name)
        self._say(f"note: port {taken} is taken by another program, {name} moves to {port}")
        return port

    def secret(self, name: str, prefix: str = "") -> str:
        """A random secret of 256 bits, made at the first call and kept."""
        with self._mutex:
            settings = self._read()
            kept: dict[str, str] = settings.setdefault("secrets", {})
            if name not in kept:
                kept[name] = prefix + secrets.token_hex(32)
                self._write(settings)
            return kept[name]

    def remove(self) -> None:
        """Removes data, logs, ports and secrets. Folders of other stacks and the cache stay."""
        for pattern in ("kafka*", "postgres*", "stripe", "logs", "run"):
            for folder in self.path.glob(pattern):
                shutil.rmtree(folder, ignore_errors=True)
        for file in (self.stack_file, self._settings_file):
            file.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        if not self._settings_file.exists():
            return {}
        settings: dict[str, Any] = json.loads(self._settings_file.read_text())
        return settings

    def _write(self, settings: dict[str, Any]) -> None:
        write_private(self._settings_file, json.dumps(settings, indent=2))


def write_private(path: Path, text: str) -> None:
    """Replaces a file that holds secrets: readable by its owner only, never half written."""
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


def _free_port(taken: set[int]) -> int:
    while True:
        port = random.choice(PORTS)  # noqa: S311  (spreads stacks apart, hides nothing)
        if port not in taken and _is_free(port):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections in TIME_WAIT from before a restart do not count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
