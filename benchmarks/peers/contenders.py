"""Those who are compared: each is started, takes loads, says where its data is, and is stopped.

Every order is for one piece of one product, chosen evenly out of so many. What `run` measures goes
from the first order until the last one is confirmed.
"""

import asyncio
import json
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import UUID

from benchmarks.load import Load
from benchmarks.peers import database
from benchmarks.peers.database import Databases
from contracts.topics import TOPICS
from deploy.create_topics import create_topics
from deploy.local.home import PROJECT
from deploy.local.postgres import programs
from deploy.local.stack import LocalStack

HERE = Path(__file__).parent
SERVICES = ("order", "inventory", "payment")
MANY = 1000
"""Products that an even load is spread over."""


class Contender(Protocol):
    databases: Databases

    def start(self) -> None:
        """Returns when it takes orders."""

    def stop(self) -> None:
        """Ends its processes."""

    def run(self, orders: int, products: int) -> float:
        """Orders per second."""

    def pids(self) -> dict[str, list[int]]:
        """Its processes by name."""


class Ours:
    """The three services, in batches or (batch_size 1) a message at a time."""

    def __init__(
        self, stack: LocalStack, products: list[UUID], *, batch_size: int | None, window: int
    ) -> None:
        """`products` is shared by all that use these databases; whoever starts first fills it."""
        self.databases = Databases(**{name: stack.postgres[name] for name in SERVICES})
        self.load = Load(stack.kafka, lines=1)
        self.products = products
        self._stack = stack
        self._window = window
        self._settings = {} if batch_size is None else {"BATCH_SIZE": str(batch_size)}

    def start(self) -> None:
        for service in SERVICES:
            self._stack.start(service, env=self._settings)
        if not self.products:
            self.products += self.load.set_up_products(MANY)

    def stop(self) -> None:
        for service in SERVICES:
            self._stack.stop(service)

    def run(self, orders: int, products: int) -> float:
        return self.load.closed_loop(self.products[:products], orders, self._window)

    def pids(self) -> dict[str, list[int]]:
        found = {service: self._stack.process(service).pid for service in SERVICES}
        return {service: [pid] for service, pid in found.items() if pid is not None}


class Monolith:
    """One program with one database: a script of pgbench, which costs next to nothing itself."""

    def __init__(self, stack: LocalStack, *, clients: int) -> None:
        self.databases = database.create(stack, "peer_monolith", one=True)
        database.add_products(self.databases, MANY)
        self._clients = clients

    def start(self) -> None:
        """There is nothing to start."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def run(self, orders: int, products: int) -> float:
        script = HERE / "monolith" / "order.sql"
        each = -(-orders // self._clients)
        values = {"products": products}
        return pgbench(self.databases.order, script, self._clients, values, transactions=each)

    def pids(self) -> dict[str, list[int]]:
        return {}  # pgbench counts as load


class Peer:
    """Programs in Python that run with the peers' own packages."""

    def __init__(self, python: Path, databases: Databases) -> None:
        self.databases = databases
        self._python = python
        self._running: dict[str, list[subprocess.Popen[str]]] = {}

    def _start(self, name: str, module: str, log: Path, environment: Mapping[str, str]) -> None:
        with log.open("a") as errors:
            program = subprocess.Popen(
                [self._python, "-m", f"benchmarks.peers.{module}"],
                cwd=PROJECT,
                env={"PATH": "/usr/bin:/bin", **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._running.setdefault(name, []).append(program)

    def _hear(self, program: subprocess.Popen[str], word: str) -> None:
        assert program.stdout is not None
        if (line := program.stdout.readline().strip()) != word:
            raise RuntimeError(f"a peer said {line!r} instead of {word!r}; read its log")

    def stop(self) -> None:
        started = [program for several in self._running.values() for program in several]
        for program in started:
            program.send_signal(signal.SIGINT)
        for program in started:
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
        self._running.clear()

    def pids(self) -> dict[str, list[int]]:
        return {name: [each.pid for each in several] for name, several in self._running.items()}


class DbosTransact(Peer):
    """Workflows of DBOS Transact in so many processes, each with so many threads."""

    def __init__(self, stack: LocalStack, python: Path, *, processes: int, threads: int) -> None:
        super().__init__(python, database.create(stack, "peer_dbos", one=True))
        database.add_products(self.databases, MANY)
        self._log = stack.home.logs / "dbos.log"
        self._processes, self._threads = processes, threads

    def start(self) -> None:
        for number in range(self._processes):
            told = {
                "PEER_DATABASE": self.databases.order,
                "PEER_REPLICA": str(number),
                "PEER_THREADS": str(self._threads),
            }
            self._start("dbos", "dbos_transact", self._log, told)
            # The first one makes DBOS's tables.
            self._hear(self._running["dbos"][-1], "ready")

    def run(self, orders: int, products: int) -> float:
        replicas = self._running["dbos"]
        each = -(-orders // len(replicas))
        began = time.perf_counter()
        for replica in replicas:
            assert replica.stdin is not None
            print(
                json.dumps({"orders": each, "products": products}), file=replica.stdin, flush=True
            )
        for replica in replicas:
            self._hear(replica, "done")
        return each * len(replicas) / (time.perf_counter() - began)

    def stop(self) -> None:
        for replica in self._running.get("dbos", []):
            if replica.stdin is not None:
                replica.stdin.close()  # the end of its loads is its end
            with suppress(subprocess.TimeoutExpired):
                replica.wait(20)
        super().stop()


class FaststreamOutbox(Peer):
    """Three services of FastStream with faststream-outbox, as processes, a message at a time."""

    PREFIX = "peer."

    def __init__(self, stack: LocalStack, python: Path, *, window: int) -> None:
        super().__init__(python, database.create(stack, "peer_faststream", one=False))
        database.add_products(self.databases, MANY)
        asyncio.run(
            create_topics(
                stack.kafka, [replace(topic, name=self.PREFIX + topic.name) for topic in TOPICS]
            )
        )
        self._load = Load(stack.kafka, lines=1, prefix=self.PREFIX)
        self._products = [UUID(int=number) for number in range(1, MANY + 1)]
        self._stack = stack
        self._window = window

    def start(self) -> None:
        for service in SERVICES:
            told = {
                "PEER_SERVICE": service,
                "PEER_DATABASE": getattr(self.databases, service),
                "PEER_KAFKA": self._stack.kafka,
                "PEER_PREFIX": self.PREFIX,
            }
            log = self._stack.home.logs / f"faststream-{service}.log"
            self._start(service, "faststream_outbox", log, told)

    def run(self, orders: int, products: int) -> float:
        return self._load.closed_loop(self._products[:products], orders, self._window)


def pgbench(
    dsn: str,
    script: Path,
    clients: int,
    values: Mapping[str, int] | None = None,
    *,
    transactions: int,
) -> float:
    """Runs of a script per second, each client running it so often over a connection of its own.

    Raises RuntimeError if one of them failed.
    """
    command: Sequence[str] = [
        str(programs() / "pgbench"),
        *("--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(2, clients)}"),
        *(f"--define={name}={value}" for name, value in (values or {}).items()),
        *(f"--transactions={transactions}", f"--file={script}", dsn),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={"LC_ALL": "C"})
    rate = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or rate is None or "failed transactions: 0 " not in done.stdout:
        raise RuntimeError(f"pgbench failed:\n{done.stdout}{done.stderr}")
    return float(rate[1])
