"""The servers that tests run against: one door, whether they come from packages or containers.

`infrastructure()` gives Kafka and PostgreSQL; `running_stack()` the whole system on top, its
services as processes of this machine. Both start from nothing and stop at the end; the logs of
the last run stay in `.local/test/logs`. Kafka and PostgreSQL are containers where a Docker engine
answers, unless TEST_STACK=local; their addresses and passwords are the same either way, but a
test that kills them needs the local ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from deploy.create_topics import create_topics
from deploy.local.errors import StackError
from deploy.local.home import PROJECT
from deploy.local.kafka import ONE_NODE
from deploy.local.stack import LocalStack

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

POSTGRES_FILES = PROJECT / "deploy" / "postgres"
# One for every test run that goes on at the same time.
HOMES = tuple(PROJECT / ".local" / name for name in ("test", "test-2", "test-3", "test-4"))


@contextlib.contextmanager
def infrastructure() -> Iterator[LocalStack]:
    """Kafka with its topics, and PostgreSQL.

    Tests use `kafka`, `postgres` and `create_database(name)`, which gives a fresh empty database.
    """
    with _home({}, {}) as stack:
        yield stack


@contextlib.contextmanager
def running_stack(
    *, env: Mapping[str, str] | None = None, replicas: Mapping[str, int] | None = None
) -> Iterator[LocalStack]:
    """The whole system; `env` goes to every service, `replicas` counts processes by service.

    Tests use `gateway`, `stripe`, `kafka`, `postgres`, `token(customer, *roles)`, and
    `start(process, env=...)`, `stop(process)`, `kill(process)`.
    """
    with _home(env or {}, replicas or {}) as stack:
        stack.up(infrastructure=False)
        yield stack


class Infrastructure(Protocol):
    """Kafka and PostgreSQL at the ports, and with the passwords, of one home."""

    def start(self) -> None:
        """Returns when both serve, the topics and databases are there."""

    def stop(self) -> None:
        """Stops both."""


class Packages:
    """Servers out of Python packages."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    def start(self) -> None:
        self._stack.up_infrastructure()

    def stop(self) -> None:
        self._stack.stop("kafka")
        self._stack.stop("postgres")


class Containers:
    """The same servers from their images."""

    def __init__(self, stack: LocalStack) -> None:
        from testcontainers.core.wait_strategies import ExecWaitStrategy, LogMessageWaitStrategy

        self._stack = stack
        kafka, postgres = (stack.home.claim_port(name) for name in ("kafka", "postgres"))
        # Testcontainers' own Kafka class runs scripts that this image does not have. Clients come
        # back to the advertised address, so the port must be known before the container starts.
        self._kafka = (
            _container("apache/kafka:4.4.0", 9092, kafka)
            .with_envs(**_kafka_variables(kafka))
            .waiting_for(LogMessageWaitStrategy("Kafka Server started"))
        )
        self._postgres = (
            _container("postgres:18", 5432, postgres)
            .with_envs(**stack.postgres_server.passwords())
            .with_volume_mapping(
                POSTGRES_FILES / "init.sql", "/docker-entrypoint-initdb.d/init.sql", "ro"
            )
            .with_volume_mapping(
                POSTGRES_FILES / "postgresql.conf", "/etc/postgresql/postgresql.conf", "ro"
            )
            .with_command(
                "postgres -c config_file=/etc/postgresql/postgresql.conf -c listen_addresses=*"
            )
            # The server that runs the init scripts listens on a socket only.
            .waiting_for(ExecWaitStrategy(["pg_isready", "-h", "127.0.0.1", "-U", "postgres"]))
        )

    def start(self) -> None:
        self._postgres.start()
        self._kafka.start()
        asyncio.run(create_topics(self._stack.kafka))

    def stop(self) -> None:
        self._kafka.stop()
        self._postgres.stop()


@contextlib.contextmanager
def _home(env: Mapping[str, str], replicas: Mapping[str, int]) -> Iterator[LocalStack]:
    with contextlib.ExitStack() as cleanup:
        stack = _free_home(cleanup, env, replicas)
        # What a test run left that was killed.
        stack.clean()
        servers: Infrastructure = Containers(stack) if _docker_answers() else Packages(stack)
        cleanup.callback(servers.stop)
        cleanup.callback(stack.down)
        servers.start()
        yield stack


def _free_home(
    cleanup: contextlib.ExitStack, env: Mapping[str, str], replicas: Mapping[str, int]
) -> LocalStack:
    for home in HOMES:
        stack = LocalStack(home, environment=env, replicas=replicas)
        try:
            cleanup.enter_context(stack.home.lock())
        except StackError:
            continue
        return stack
    raise StackError(
        f"{len(HOMES)} test runs are going on in this checkout",
        todo="wait until one of them has ended",
    )


def _kafka_variables(port: int) -> dict[str, str]:
    """Kafka's settings as its image reads them: `log.dirs` is KAFKA_LOG_DIRS."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": "BROKER://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": "1@127.0.0.1:9093",
    }
    lines = (line for line in ONE_NODE.splitlines() if line and not line.startswith("#"))
    settings |= dict(line.split("=", 1) for line in lines)
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}


def _container(image: str, inside: int, outside: int) -> DockerContainer:
    from testcontainers.core.container import DockerContainer  # slow to import, seldom needed

    container = DockerContainer(image)
    # Reachable from this machine only, unlike with_bind_ports.
    container.ports[str(inside)] = ("127.0.0.1", outside)  # type: ignore[assignment]
    return container


def _docker_answers() -> bool:
    if os.environ.get("TEST_STACK") == "local" or shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "info"], capture_output=True, timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0
