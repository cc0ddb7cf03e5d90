"""Creates the topics of `contracts/topics.py` that the broker does not have yet.

    KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python -m deploy.create_topics

Safe to repeat. An existing topic is never changed, because more partitions would send the next
message of an order to another place than its last one: differences are reported, for a person
to decide.

Settings, from the environment:

    TOPIC_REPLICATION_FACTOR    copies of each partition
    TOPIC_MIN_INSYNC_REPLICAS   copies that must have a record before it counts as published;
                                3 and 2 survive the loss of any broker
                                (without them: the broker's defaults, which locally are 1)
    PRODUCTION=true             refuse topics of which an acknowledged record may be on one broker
                                only; exits with 78, and names them
    ALLOW_SINGLE_COPY=true      take them all the same: one broker, on one machine
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code

from contracts.topics import TOPICS, Topic


class Copies(NamedTuple):
    """How many brokers have each record."""

    replication_factor: int | None = None
    min_insync: int | None = None
    """So many must have a record before it counts as published. None is the broker's default."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Copies:
        """What the environment asks for.

        Raises ValueError, naming the setting.
        """
        wanted = cls(
            _number(environment, "TOPIC_REPLICATION_FACTOR"),
            _number(environment, "TOPIC_MIN_INSYNC_REPLICAS"),
        )
        if (wanted.min_insync or 1) > (wanted.replication_factor or 100):
            raise ValueError(
                "TOPIC_MIN_INSYNC_REPLICAS is more than TOPIC_REPLICATION_FACTOR: no topic would "
                "take anything"
            )
        return wanted


BROKERS_DEFAULT = Copies()


class SingleCopyError(Exception):
    """Acknowledged records may be on one broker only; the text names the topics."""


_MIN_INSYNC = "min.insync.replicas"
# A broker's own default for the largest batch; MAX_MESSAGE_BYTES of the services must be less.
_MAX_BATCH_BYTES = 1_048_588


def settings_of(topic: Topic, copies: Copies = BROKERS_DEFAULT) -> dict[str, str]:
    """The broker's settings for a topic. Retention is in milliseconds, -1 is for ever."""
    settings = {
        "cleanup.policy": "compact" if topic.compacted else "delete",
        "retention.ms": str(-1 if topic.retention_ms is None else topic.retention_ms),
        "max.message.bytes": str(_MAX_BATCH_BYTES),
    }
    if copies.min_insync is not None:
        settings[_MIN_INSYNC] = str(copies.min_insync)
    return settings


async def create_topics(
    bootstrap_servers: str,
    topics: Iterable[Topic] = TOPICS,
    *,
    copies: Copies = BROKERS_DEFAULT,
    refuse_single_copy: bool = False,
) -> list[str]:
    """Creates what is missing and returns one line for each topic created or found different.

    Raises aiokafka.errors.KafkaError if the broker refuses or is away, and SingleCopyError, if that
    is to be refused, before anything is created.
    """
    wanted = {topic.name: topic for topic in topics}
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        existing = wanted.keys() & set(await admin.list_topics())
        found = await _found(admin, [wanted[name] for name in sorted(existing)])
        if refuse_single_copy:
            _refuse_single_copy(found, copies, wanted.keys() - existing)
        missing = [wanted[name] for name in wanted.keys() - existing]
        lines = list(await _create(admin, missing, copies))
        lines += [
            f"DIFFERENT {name}: {what} is {values[what]}, should be {should}"
            for name, values in found.items()
            for what, should in _expected(wanted[name], copies)
            if values[what] != should
        ]
    finally:
        await admin.close()
    return lines


async def _create(admin: AIOKafkaAdminClient, topics: list[Topic], copies: Copies) -> list[str]:
    if not topics:
        return []
    # Replication -1 is the broker's default. The client accepts -1 only together with an explicit
    # (empty) assignment of replicas, and any other number only without.
    factor = copies.replication_factor or -1
    assigned: dict[int, list[int]] | None = {} if factor == -1 else None
    new = [NewTopic(t.name, t.partitions, factor, assigned, settings_of(t, copies)) for t in topics]
    answer = await admin.create_topics(new, timeout_ms=30_000)
    created = set()
    for name, code, *message in answer.topic_errors:
        error = for_code(code)
        if not code:
            created.add(name)
        # Another replica of this job may have been faster.
        elif error is not TopicAlreadyExistsError:
            raise error(f"topic {name}: {next(iter(message), None) or error.description}")
    return [f"created {t.name}, {t.partitions} partitions" for t in topics if t.name in created]


def _refuse_single_copy(
    found: Mapping[str, Mapping[str, str]], copies: Copies, missing: Iterable[str]
) -> None:
    single = [
        name
        for name, values in found.items()
        if int(values["replication factor"]) < 2 or int(values[_MIN_INSYNC]) < 2
    ]
    if (copies.replication_factor or 1) < 2 or (copies.min_insync or 1) < 2:
        single += missing
    if single:
        raise SingleCopyError(
            f"a published record of these topics may be on one broker only: "
            f"{', '.join(sorted(single))}. Set TOPIC_REPLICATION_FACTOR=3 and "
            f"TOPIC_MIN_INSYNC_REPLICAS=2 before topics are created, change those that exist with "
            f"kafka-reassign-partitions and kafka-configs, or set ALLOW_SINGLE_COPY=true"
        )


def _expected(topic: Topic, copies: Copies) -> Iterator[tuple[str, str]]:
    yield "partitions", str(topic.partitions)
    if copies.replication_factor is not None:
        yield "replication factor", str(copies.replication_factor)
    yield from settings_of(topic, copies).items()


async def _found(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    """How topics are: their partitions, the fewest copies of one, and their settings."""
    if not topics:
        return {}
    described = await admin.describe_topics([topic.name for topic in topics])
    found = await _configured(admin, topics)
    for topic in described:
        partitions = topic["partitions"]
        found[topic["topic"]] |= {
            "partitions": str(len(partitions)),
            "replication factor": str(min(len(each["replicas"]) for each in partitions)),
        }
    return found


async def _configured(admin: AIOKafkaAdminClient, topics: list[Topic]) -> dict[str, dict[str, str]]:
    names = [*settings_of(topics[0]), _MIN_INSYNC]
    answers: list[Any] = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, t.name, dict.fromkeys(names)) for t in topics]
    )
    return {
        name: {setting: value for setting, value, *_ in entries}
        for answer in answers
        for _, _, _, name, entries in answer.resources
    }


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if not value:
        return None
    if not value.isdecimal() or not 1 <= int(value) <= 100:
        raise ValueError(f"{name} must be a number from 1, not {value!r}")
    return int(value)


def _is_set(environment: Mapping[str, str], name: str) -> bool:
    """As pydantic reads the services' `PRODUCTION`."""
    value = (environment.get(name) or "false").lower()
    if value in {"1", "true", "t", "yes", "y", "on"}:
        return True
    if value in {"0", "false", "f", "no", "n", "off"}:
        return False
    raise ValueError(f"{name} must be true or false, not {value!r}")


def main() -> int:
    """Creates the topics of the broker named by KAFKA_BOOTSTRAP_SERVERS; prints what it did."""
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        print("KAFKA_BOOTSTRAP_SERVERS is not set: give it host:port of a broker", file=sys.stderr)
        return 2
    try:
        copies = Copies.of(os.environ)
        refuse = _is_set(os.environ, "PRODUCTION") and not _is_set(os.environ, "ALLOW_SINGLE_COPY")
        lines = asyncio.run(create_topics(servers, copies=copies, refuse_single_copy=refuse))
    except (ValueError, SingleCopyError) as error:
        print(f"setting {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    except KafkaConnectionError as error:
        print(f"no Kafka broker answers at {servers}: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines) if lines else f"all {len(TOPICS)} topics are as they should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
