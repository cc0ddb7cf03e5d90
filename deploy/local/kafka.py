"""Apache Kafka as one local process: KRaft, broker and controller in one, plain text, 127.0.0.1.

Data outlives restarts. An acknowledged record survives `kill -9` (it is in the page cache), but
not necessarily a power cut: Kafka's durability is its replication, and this is one node.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.java import java, kafka_jars
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
node.id=1
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=BROKER://127.0.0.1:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}
"""

# Those of one node wherever it runs: here, and in a container for tests.
ONE_NODE = """\
# Topics come from contracts/topics.py; a misspelt one must fail.
auto.create.topics.enable=false

# One node: nothing to replicate to.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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


class Kafka:
    """The broker of a home."""

    def __init__(self, home: Home) -> None:
        self.process = Process(home, "kafka")
        self._home = home
        self._folder = home.path / "kafka"
        self._properties = self._folder / "server.properties"

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._home.port('kafka')}"

    def start(self) -> None:
        """Starts the broker and waits until it serves."""
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
        """Returns once the broker serves metadata, which it does when it is registered."""
        # In a thread: the caller may have an event loop of its own in this one.
        with ThreadPoolExecutor(max_workers=1) as pool:
            self.process.wait_until(
                lambda: pool.submit(asyncio.run, _has_brokers(self.address)).result(),
                seconds=60,
                todo="read the log; if the data is damaged, `make clean` starts afresh",
            )

    def stop(self) -> bool:
        """True if it closed its logs by itself; after a kill it checks them at the next start."""
        return self.process.stop(signal.SIGTERM, seconds=30)

    def _write_properties(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self._properties.write_text(
            ADDRESSES.format(
                port=self._home.claim_port("kafka"),
                controller_port=self._home.claim_port("kafka-controller"),
                data=self._folder / "data",
            )
            + ONE_NODE
        )

    def _format(self, launch: list[str]) -> None:
        # A fixed cluster id: it only guards against mixing up the disks of several clusters.
        arguments = ["--standalone", "-t", "b3JkZXJmbG93LWxvY2FsMA", "-c", str(self._properties)]
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


async def _has_brokers(address: str) -> bool:
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
    return bool(cluster["brokers"])
