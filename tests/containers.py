"""Kafka and PostgreSQL of a test run as containers, for `TEST_SERVERS=containers`.

To everything else they are the servers of a local stack: the same addresses, passwords and
settings, started, stopped and killed by the same calls. Images are used as they are here, and
pulled where they are missing.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from threading import Thread
from typing import Any

import docker
import docker.errors
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from deploy.local.home import Home
from deploy.local.java import KAFKA_VERSION
from deploy.local.kafka import ONE_NODE, Kafka
from deploy.local.postgres import FILES, VERSION, Postgres
from deploy.local.process import Process
from deploy.local.stack import LocalStack

KAFKA_IMAGE = f"apache/kafka:{KAFKA_VERSION}"
POSTGRES_IMAGE = f"postgres:{VERSION}"

# Its helper is one image more to pull. What a killed run left is removed by its name instead.
testcontainers_config.ryuk_disabled = True


class KafkaContainer(DockerContainer):
    """Apache's own image. Testcontainers' class runs scripts of another vendor's image.

    Clients come back to the advertised address, so the port must be known beforehand.
    """

    def __init__(self, port: int, **settings: Any) -> None:
        super().__init__(KAFKA_IMAGE, **settings)
        _publish(self, 9092, port)
        self.with_envs(**_kafka_variables(port))


class ContainerProcess(Process):
    """The first process of a container, which outlives it: a start after an end keeps the data."""

    def __init__(self, home: Home, name: str) -> None:
        super().__init__(home, name)
        folder = sha256(str(home.path).encode()).hexdigest()[:8]
        self.container_name = f"orderflow-{folder}-{name}"
        self._container: DockerContainer | None = None

    @property
    def pid(self) -> int | None:
        """As the engine sees it."""
        if self._container is None:
            return None
        self._container.reload()
        state = self._container.get_wrapped_container().attrs["State"]
        return int(state["Pid"]) if state["Running"] else None

    @property
    def exit_status(self) -> int | None:
        """-9 after SIGKILL, as for a process of this machine; None while it runs."""
        if self._container is None or self.pid is not None:
            return None
        code = int(self._container.get_wrapped_container().attrs["State"]["ExitCode"])
        return 128 - code if code > 128 else code

    def run(self, container: DockerContainer) -> None:
        """Starts the container, or again the one that was started before."""
        began = datetime.now(UTC)
        if self._container is not None:
            self._container.get_wrapped_container().start()
        else:
            with contextlib.suppress(docker.errors.NotFound):
                docker.from_env().containers.get(self.container_name).remove(force=True, v=True)
            self._container = container.start()
        Thread(target=self._follow_log, args=(self._container, began), daemon=True).start()
        # `down` stops what has a record. Another command finds no such process, and forgets it.
        self._record.parent.mkdir(exist_ok=True)
        self._record.write_text('{"pid": 0, "started": 0, "settings": ""}')

    def _follow_log(self, container: DockerContainer, since: datetime) -> None:
        """Puts into the log what the container says, until it ends."""
        self.log.parent.mkdir(exist_ok=True)
        said = container.get_wrapped_container().logs(stream=True, follow=True, since=since)
        with self.log.open("ab") as log:
            for line in said:
                log.write(line)
                log.flush()

    def send(self, number: int) -> None:
        assert self._container is not None, f"{self.name} was never started"
        self._container.get_wrapped_container().kill(signal=number)
        if number == signal.SIGKILL:
            self._wait_gone(10)

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 20) -> bool:
        self.send(number)
        clean = self._wait_gone(seconds)
        if not clean:
            self.send(signal.SIGKILL)
        self.forget()
        return clean

    def remove(self) -> None:
        """Removes the container with its data; its log stays."""
        if self._container is not None:
            self._container.stop()


class KafkaInContainer(Kafka):
    """One node: more would have to know each other's addresses inside."""

    process: ContainerProcess

    def __init__(
        self,
        home: Home,
        name: str = "kafka",
        *,
        names: Sequence[str] = ("kafka",),
        clients: Sequence[str] = (),
    ) -> None:
        if len(names) > 1 or clients:
            raise ValueError("several brokers, and links, are for TEST_SERVERS=local")
        super().__init__(home, name)
        self.process = ContainerProcess(home, name)

    def start(self) -> None:
        port = self._home.claim_port(self.process.name)
        self.process.run(KafkaContainer(port, name=self.process.container_name))
        self.wait_ready()


class PostgresInContainer(Postgres):
    """Settings, roles and databases as everywhere."""

    process: ContainerProcess

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self.process = ContainerProcess(home, "postgres")

    def start(self) -> None:
        container = PostgresContainer(
            POSTGRES_IMAGE,
            username="postgres",
            password=self.passwords()["POSTGRES_PASSWORD"],
            dbname="postgres",
            name=self.process.container_name,
        )
        _publish(container, 5432, self._home.claim_port("postgres"))
        settings = "/etc/postgresql/postgresql.conf"
        container.with_volume_mapping(FILES / "postgresql.conf", settings, "ro")
        container.with_command(f"postgres -c config_file={settings} -c listen_addresses=*")
        self.process.run(container)
        self.wait_ready()


def remove_containers(stack: LocalStack) -> None:
    """Removes the containers of a stack that has some, with their data."""
    for server in stack.infrastructure.values():
        if isinstance(server.process, ContainerProcess):
            server.process.remove()


def _publish(container: DockerContainer, inside: int, outside: int) -> None:
    # Reachable from this machine only, unlike with_bind_ports.
    container.ports = {str(inside): ("127.0.0.1", outside)}  # type: ignore[dict-item]


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
        "heap.opts": "-Xms128m -Xmx384m",
    }
    lines = (line for line in ONE_NODE.splitlines() if line and not line.startswith("#"))
    settings |= dict(line.split("=", 1) for line in lines)
    return {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
