"""Topics get as many copies as the settings say, and production takes none that has one."""

from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.topics import TOPICS, Topic
from deploy import create_topics as module
from deploy.create_topics import Copies, SingleCopyError, create_topics
from deploy.local.stack import LocalStack
from tests.kit.conftest import eventually


def made_up() -> Topic:
    return Topic(f"test.{uuid4().hex[:12]}", owner="order", key="order_id", partitions=2)


def test_settings_that_are_no_numbers_or_exclude_each_other_are_named() -> None:
    assert Copies.of({}) == (None, None)
    assert Copies.of({"TOPIC_REPLICATION_FACTOR": "3", "TOPIC_MIN_INSYNC_REPLICAS": "2"}) == (3, 2)
    with pytest.raises(ValueError, match="TOPIC_REPLICATION_FACTOR must be a number"):
        Copies.of({"TOPIC_REPLICATION_FACTOR": "three"})
    with pytest.raises(ValueError, match="no topic would take anything"):
        Copies.of({"TOPIC_REPLICATION_FACTOR": "2", "TOPIC_MIN_INSYNC_REPLICAS": "3"})


async def is_listed(servers: LocalStack, topic: Topic) -> bool:
    """A broker lists a topic a moment after the controller has created it."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        return topic.name in await admin.list_topics()
    finally:
        await admin.close()


async def test_copies_are_set_and_checked(servers: LocalStack) -> None:
    topic = made_up()
    (line,) = await create_topics(servers.kafka, [topic], copies=Copies(1, 1))
    assert line == f"created {topic.name}, 2 partitions"
    await eventually(lambda: is_listed(servers, topic), bool)
    assert await create_topics(servers.kafka, [topic], copies=Copies(1, 1)) == []
    assert await create_topics(servers.kafka, [topic]) == []
    assert await create_topics(servers.kafka, [topic], copies=Copies(3, 2)) == [
        f"DIFFERENT {topic.name}: replication factor is 1, should be 3",
        f"DIFFERENT {topic.name}: min.insync.replicas is 1, should be 2",
    ]
    with pytest.raises(KafkaError, match="eplication factor"):  # one broker has no room for three
        await create_topics(servers.kafka, [made_up()], copies=Copies(3, 2))


async def test_production_creates_and_takes_no_topic_with_a_single_copy(
    servers: LocalStack,
) -> None:
    there, missing = made_up(), made_up()
    await create_topics(servers.kafka, [there])
    await eventually(lambda: is_listed(servers, there), bool)
    with pytest.raises(SingleCopyError, match=there.name):
        await create_topics(servers.kafka, [there], copies=Copies(3, 2), refuse_single_copy=True)
    with pytest.raises(SingleCopyError, match=missing.name):
        await create_topics(servers.kafka, [missing], refuse_single_copy=True)
    assert await create_topics(servers.kafka, [missing])  # it was not created


def test_the_command_leaves_with_an_explanation(
    servers: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("PRODUCTION", "true")
    assert module.main() == 78
    told = capsys.readouterr().err
    assert all(topic.name in told for topic in TOPICS)
    assert "TOPIC_MIN_INSYNC_REPLICAS=2" in told
    monkeypatch.setenv("ALLOW_SINGLE_COPY", "true")
    assert module.main() == 0
    monkeypatch.setenv("PRODUCTION", "perhaps")
    assert module.main() == 78
