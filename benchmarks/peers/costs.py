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
    return records, sum(kafka_bytes(stack).values())


def kafka_bytes(stack: LocalStack) -> dict[str, int]:
    """Bytes that Kafka holds so far by topic, without its own."""
    found: dict[str, int] = {}
    for file in (stack.home.path / "kafka").rglob("*.log"):
        topic = file.parent.name.rpartition("-")[0]
        if topic and not topic.startswith("__"):
            found[topic] = found.get(topic, 0) + file.stat().st_size
    return found
