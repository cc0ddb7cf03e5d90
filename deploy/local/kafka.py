"""Apache Kafka as local processes: KRaft, broker and controller in one, plain text, 127.0.0.1.

One node unless more are asked for. Data outlives restarts. An acknowledged record survives
`kill -9` (it is in the page cache), but not necessarily a power cut: Kafka's durability is its
replication, and all nodes are on this machine.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.java import java, kafka_jars
from deploy.local.links import link_name, listener_name
from deploy.local.process import Process

JVM_OPTIONS = [
    # A broker holds its data in the page cache; on the heap are requests and indexes only.
    "-Xms128m",
    "-Xmx384m",
    # One collector thread: on a machine of few cores the parallel ones take turns with the broker.
    "-XX:+UseSerialGC",
    # The fast compiler alone: half the time to start; the broker waits for disks, not for code.
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.BrokerServer=info",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
]

ADDRESSES = """\
process.roles=broker,controller
node.id={node}
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={advertised}
listener.security.protocol.map={protocols},CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={controllers}
log.dirs={data}
"""

SETTINGS = """\
# Topics come from contracts/topics.py; a misspelt one must fail.
auto.create.topics.enable=false

# Every record on all nodes (three at most); an acknowledged one on so many.
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
# A partition costs files and start-up time; a handful of groups needs no 50.
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
share.coordinator.state.topic.num.partitions=3

# A group of one starts at once instead of waiting 3 s for more members.
group.initial.rebalance.delay.ms=0

# After kill -9 the new broker is refused until the old one's session has expired (default 9 s).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000

# The default of 128 MB would be a third of the heap; compacted topics here have few keys.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
"""
# Those of one node wherever it runs: here, and in a container for tests.
ONE_NODE = SETTINGS.format(replicas=1, in_sync=1)


class Kafka:
    """A node of a home's cluster: broker and controller.

    `names` are the processes of all nodes. Each of `clients` gets a listener of its own, which
    sends it to the port of its link (`links.py`): whatever sits there is between the two.
    """

    def __init__(
        self,
        home: Home,
        name: str = "kafka",
        *,
        names: Sequence[str] = ("kafka",),
        clients: Sequence[str] = (),
    ) -> None:
        self.process = Process(home, name)
        self._home = home
        self._name = name
        self._names = names
        self._clients = clients
        self._node = names.index(name) + 1
        self._folder = home.path / name
        self._properties = self._folder / "server.properties"

    @property
    def address(self) -> str:
        """host:port for clients that have no listener of their own."""
        return f"127.0.0.1:{self._home.port(self._name)}"

    def start(self) -> None:
        """Starts the broker and waits until it serves. The first time, most of a cluster's nodes
        must start at once: alone, none of them does."""
        jars = kafka_jars()
        self._write_properties()
        scratch = self._folder / "tmp"
        scratch.mkdir(exist_ok=True)
        launch = [
            str(java()),
            *JVM_OPTIONS,
            # Native libraries of the compression codecs are unpacked there.
            f"-Djava.io.tmpdir={scratch}",
            "-cp",
            f"{jars}/*",
        ]
        if not (self._folder / "data" / "meta.properties").exists():
            self._format(launch)
        self.process.start([*launch, "kafka.Kafka", str(self._properties)], os.environ)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Returns once the broker says of itself that it is in the cluster."""
        # In a thread: the caller may have an event loop of its own in this one.
        with ThreadPoolExecutor(max_workers=1) as pool:
            self.process.wait_until(
                lambda: pool.submit(asyncio.run, _is_member(self.address, self._node)).result(),
                seconds=60,
                todo="read the log; if the data is damaged, `make clean` starts afresh",
            )

    def stop(self) -> bool:
        """True if it closed its logs by itself; after a kill it checks them at the next start."""
        return self.process.stop(signal.SIGTERM, seconds=30)

    def _write_properties(self) -> None:
        self._folder.mkdir(exist_ok=True)
        listening = {"BROKER": self._home.claim_port(self._name)}
        advertised = {"BROKER": listening["BROKER"]}
        for client in self._clients:
            listening[client.upper()] = self._home.claim_port(listener_name(client, self._name))
            advertised[client.upper()] = self._home.port(link_name(client, self._name))
        controller_port = self._home.claim_port(_controller(self._name))
        replicas = min(len(self._names), 3)
        self._properties.write_text(
            ADDRESSES.format(
                node=self._node,
                listeners=_addresses(listening),
                advertised=_addresses(advertised),
                protocols=",".join(f"{listener}:PLAINTEXT" for listener in listening),
                controller_port=controller_port,
                controllers=",".join(self._controllers()),
                data=self._folder / "data",
            )
            + SETTINGS.format(replicas=replicas, in_sync=max(1, replicas - 1))
        )

    def _controllers(self) -> list[str]:
        return [f"127.0.0.1:{self._home.port(_controller(name))}" for name in self._names]

    def _format(self, launch: list[str]) -> None:
        voters = ",".join(
            f"{node}@{address}:{_uuid(node)}" for node, address in enumerate(self._controllers(), 1)
        )
        # A fixed cluster id: it only guards against mixing up the disks of several clusters.
        arguments = ["-t", _uuid(0), "-c", str(self._properties), "--initial-controllers", voters]
        formatted = subprocess.run(
            [*launch, "kafka.tools.StorageTool", "format", *arguments],
            capture_output=True,
            text=True,
        )
        if formatted.returncode != 0:
            raise StackError(
                f"Kafka could not prepare its data folder:\n{formatted.stdout}{formatted.stderr}",
                todo="check that the disk is writable, then `make clean` and start again",
            )


def _controller(name: str) -> str:
    """The name of the port at which a node's controller listens."""
    return f"{name}-controller"


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{listener}://127.0.0.1:{port}" for listener, port in ports.items())


def _uuid(number: int) -> str:
    """An id as Kafka writes it; 0 is the cluster, then come the nodes' disks."""
    return base64.urlsafe_b64encode(f"orderflow-local{number}".encode()).decode().rstrip("=")


async def _is_member(address: str, node: int) -> bool:
    host, port = address.split(":")
    try:
        # The client logs a warning for every refused connection; knock first.
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
        admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
        try:
            await admin.start()
            cluster = await admin.describe_cluster()
        finally:
            await admin.close()
    except (OSError, KafkaError):
        return False
    return any(broker["node_id"] == node for broker in cluster["brokers"])
