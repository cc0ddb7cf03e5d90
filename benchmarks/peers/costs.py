"""What a contender's orders cost: CPU of a process, and what Kafka keeps."""

from collections.abc import Mapping

import confluent_kafka as librdkafka

from benchmarks.load import end_of
from deploy.local.stack import LocalStack


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
