"""What the servers of this machine could do at most, measured in the same run.

Commits of one row per second by pgbench, records of the same size per second through Kafka, and how
long one of each takes alone.
"""

import statistics
import time

import confluent_kafka as librdkafka

from benchmarks.peers import database
from benchmarks.peers.contenders import HERE, pgbench
from contracts.topics import Topic
from deploy.local.stack import LocalStack

TOPIC = Topic("limits", owner="benchmark", key="none")
_LONGEST = 30.0  # seconds


def commits_per_second(dsn: str, *, clients: int, transactions: int) -> float:
    """Plain commits, of so many clients, each so many."""
    script = HERE / "monolith" / "commit.sql"
    return pgbench(dsn, script, clients, transactions=transactions)


def prepare(stack: LocalStack) -> str:
    """A database with a table for commits; returns its address."""
    dsn = stack.create_database("limits")
    database.execute(dsn, "CREATE TABLE commits (at timestamptz DEFAULT now())")
    return dsn


def produced_per_second(kafka: str, *, records: int, size: int) -> float:
    """Records of `size` bytes per second, acknowledged as the services ask for it."""
    producer = _producer(kafka, linger_ms=5)
    value = b"x" * size
    producer.produce(TOPIC.name, value, b"first")
    producer.flush(_LONGEST)  # connected, and known to the broker
    began = time.perf_counter()
    for number in range(records):
        while True:
            try:
                producer.produce(TOPIC.name, value, str(number).encode())
                break
            except BufferError:  # the queue is full
                producer.poll(0.01)
    if producer.flush(_LONGEST):
        raise TimeoutError("Kafka did not take all records")
    return records / (time.perf_counter() - began)


def round_trip_seconds(kafka: str, *, times: int, size: int) -> float:
    """The median time from sending one record until a consumer has it."""
    producer = _producer(kafka, linger_ms=0)
    consumer = librdkafka.Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": "benchmark",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
    )
    try:
        place = librdkafka.TopicPartition(TOPIC.name, 0)
        _, place.offset = consumer.get_watermark_offsets(place, timeout=10)
        consumer.assign([place])
        taken = [_round_trip(producer, consumer, b"x" * size) for _ in range(times)]
    finally:
        consumer.close()
        producer.flush(_LONGEST)
    return statistics.median(taken)


def _round_trip(
    producer: librdkafka.Producer, consumer: librdkafka.Consumer, value: bytes
) -> float:
    began = time.perf_counter()
    producer.produce(TOPIC.name, value, partition=0)
    received = None
    while received is None:
        producer.poll(0)
        received = consumer.poll(0.01)
        if time.perf_counter() - began > _LONGEST:
            raise TimeoutError("a record did not come back")
    return time.perf_counter() - began


def _producer(kafka: str, *, linger_ms: int) -> librdkafka.Producer:
    return librdkafka.Producer(
        {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": linger_ms}
    )
