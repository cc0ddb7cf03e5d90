"""Creates the topics of `contracts/topics.py` that the broker does not have yet.

    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python -m deploy.create_topics

Safe to repeat. An existing topic is never changed, because more partitions would send the next
message of an order to another place than its last one: differences are reported, for a person
to decide.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from contracts.topics import TOPICS, Topic


def settings_of(topic: Topic) -> dict[str, str]:
    """The broker's settings for a topic. Retention is in milliseconds, -1 is for ever."""
    return {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": str(-1 if topic.retention_ms is None else topic.retention_ms),
    }


async def create_topics(bootstrap_servers: str, topics: Iterable[Topic] = TOPICS) -> list[str]:
    """Creates what is missing and returns one line for each topic created or found different.

    Raises aiokafka.errors.KafkaError if the broker refuses or is away.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        existing = wanted.keys() & set(await admin.list_topics())
        lines = list(await _create(admin, [wanted[name] for name in wanted.keys() - existing]))
        lines += await _differences(admin, [wanted[name] for name in sorted(existing)])
    finally:
        await admin.close()
    return lines


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic]) -> list[str]:
    if not topics:
        return []
    # Replication -1 is the broker's default: 3 in a cluster, 1 on one node. The client accepts
    # -1 only together with an explicit (empty) assignment of replicas.
    new = [NewTopic(t.name, t.partitions, -1, {}, settings_of(t)) for t in topics]
    answer = await admin.create_topics(new, timeout_ms=30_000)
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        # Another replica of this job may have been faster.
        if code and error is not TopicAlreadyExistsError:
            raise error(f"topic {name}: {next(iter(message), None) or error.description}")
    return [f"created {t.name}, {t.partitions} partitions" for t in topics]


async def _differences(admin: AIOKafkaAdminClient, topics: list[Topic]) -> list[str]:
    if not topics:
        return []
    described = await admin.describe_topics([topic.name for topic in topics])
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    configured = await _configured(admin, topics)
    return [
        f"DIFFERENT {topic.name}: {what} is {found}, should be {should}"
        for topic in topics
        for what, found, should in _compare(topic, partitions[topic.name], configured[topic.name])
        if found != should
    ]


def _compare(
    topic: Topic, partitions: int, configured: dict[str, str]
) -> Iterator[tuple[str, str, str]]:
    yield "partitions", str(partitions), str(topic.partitions)
    for setting, should in settings_of(topic).items():
        yield setting, configured[setting], should


async def _configured(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    names = list(settings_of(topics[0]))
    answers: list[Any] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, t.name, dict.fromkeys(names)) for t in topics]
    )
    return {
        name: {setting: value for setting, value, *_ in entries}
        for answer in answers
        for _, _, _, name, entries in answer.resources
    }


def main() -> int:
    """Creates the topics of the broker named by KAFKA_BOOTSTRAP_SERVERS; prints what it did."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        print("KAFKA_BOOTSTRAP_SERVERS is not set: give it host:port of a broker", file=sys.stderr)
        return 2
    try:
        lines = asyncio.run(create_topics(servers))
    except KafkaConnectionError as error:
        print(f"no Kafka broker answers at {servers}: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines) if lines else f"all {len(TOPICS)} topics are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
