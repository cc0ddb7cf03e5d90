"""What a contender's orders cost: CPU by process, and what Kafka keeps."""

from collections.abc import Mapping

import confluent_kafka as librdkafka
import psutil

from benchmarks.load import end_of
from deploy.local.stack import LocalStack


def cpu_seconds(stack: LocalStack, programs: Mapping[str, list[int]]) -> dict[str, float]:
    """CPU seconds so far of the servers, of this load (with what it started and waited for), and
    of each program, which may be several processes."""
    postgres = psutil.Process(stack.process("postgres").pid)
    # A backend that has ended counts for its parent, which is therefore asked last.
    backends = sum(map(_used_if_there, postgres.children()))
    servers = {
        "kafka": _used(psutil.Process(stack.process("kafka").pid)),
        "postgres": backends + _used(postgres, ended=True),
        "load": _used(psutil.Process(), ended=True),
    }
    return servers | {
        name: sum(_used(psutil.Process(pid)) for pid in pids) for name, pids in programs.items()
    }


def microseconds(
    before: Mapping[str, float], after: Mapping[str, float], orders: int
) -> dict[str, int]:
    """CPU microseconds per order, by process."""
    return {name: round((after[name] - before[name]) / orders * 1e6) for name in after}


def kafka_log(stack: LocalStack) -> tuple[int, int]:
    """Records and bytes that Kafka holds so far, in all topics but its own."""
    consumer = librdkafka.Consumer({"bootstrap.servers": stack.kafka, "group.id": "benchmark"})
    try:
        topics = consumer.list_topics(timeout=10).topics
        places = [
            librdkafka.TopicPartition(name, partition)
            for name, topic in topics.items()
            if not name.startswith("__")
            for partition in topic.partitions
        ]
        records = sum(end_of(consumer, place) for place in places)
    finally:
        consumer.close()
    files = (stack.home.path / "kafka").rglob("*.log")
    size = sum(file.stat().st_size for file in files if not file.parent.name.startswith("__"))
    return records, size


def _used_if_there(process: psutil.Process) -> float:
    try:
        return _used(process)
    except psutil.NoSuchProcess:
        return 0.0


def _used(process: psutil.Process, *, ended: bool = False) -> float:
    times = process.cpu_times()
    children = times.children_user + times.children_system if ended else 0.0
    return float(times.user + times.system + children)
