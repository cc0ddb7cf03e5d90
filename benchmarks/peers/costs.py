"""What a contender's orders cost: CPU by process, and what Kafka keeps."""

import time
from collections.abc import Mapping

import confluent_kafka as librdkafka
import psutil

from deploy.local.stack import LocalStack

_LONGEST_ELECTION = 10.0  # seconds
_NOT_YET = {
    librdkafka.KafkaError.NOT_LEADER_FOR_PARTITION,
    librdkafka.KafkaError.LEADER_NOT_AVAILABLE,
}


def cpu_seconds(stack: LocalStack, programs: Mapping[str, list[int]]) -> dict[str, float]:
    """CPU seconds so far of the servers, of this load (with what it started and waited for), and
    of each program, which may be several processes."""
    postgres = psutil.Process(stack.process("postgres").pid)
    # A backend that has ended counts for its parent.
    servers = {
        "kafka": _used(psutil.Process(stack.process("kafka").pid)),
        "postgres": _used(postgres, ended=True) + sum(map(_used, postgres.children())),
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
        records = sum(_end(consumer, place) for place in places)
    finally:
        consumer.close()
    files = (stack.home.path / "kafka").rglob("*.log")
    size = sum(file.stat().st_size for file in files if not file.parent.name.startswith("__"))
    return records, size


def _end(consumer: librdkafka.Consumer, place: librdkafka.TopicPartition) -> int:
    until = time.monotonic() + _LONGEST_ELECTION
    while True:
        try:
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            return int(end)
        except librdkafka.KafkaException as error:
            # A partition that was made a moment ago may not have its leader yet.
            if error.args[0].code() not in _NOT_YET or time.monotonic() > until:
                raise
        time.sleep(0.1)


def _used(process: psutil.Process, *, ended: bool = False) -> float:
    times = process.cpu_times()
    children = times.children_user + times.children_system if ended else 0.0
    return float(times.user + times.system + children)
