"""A part of Kafka takes nothing, everything else does: the others must keep their rate.

On one broker that part is a topic that refuses each record. Of five brokers it is one partition
that has lost two of its three copies: its leader is there, and acknowledges nothing.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest

from contracts.topics import (
    AUDIT_INVENTORY,
    AUDIT_ORDER,
    AUDIT_PAYMENT,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    ORDER_COMMANDS,
    ORDER_EVENTS,
    PARTITIONS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    Topic,
)
from deploy.create_topics import settings_of
from deploy.local.errors import StackError
from services.kit.partitioner import hash_of
from tests.faults.nemesis import SERVICES, Beaten, Breach, NotStruck, fault

ROW = "One partition takes nothing"
HELD = "orderflow_outbox_partitions_held"
_SECONDS = 12.0
_TO_BE_DECIDED = 4.0
"""Seconds that an order gets, in the count of those that were decided in time."""
_KEPT = 0.7
"""The share of the usual number that must be decided: arrivals are random, and the load is
everybody's on this machine."""
_NEEDED = 5

Places = Mapping[tuple[str, int], list[int]]
"""The brokers of each partition."""


class Decided(NamedTuple):
    """Of the orders that were placed in a stretch of time, on some partitions."""

    placed: int
    in_time: int


@fault(name="topic-refuses", row=ROW)
async def topic_refuses(beaten: Beaten, rng: random.Random) -> str:
    """A topic that no order waits for refuses each record as too old; orders must go on."""
    topic = rng.choice((AUDIT_ORDER, AUDIT_INVENTORY, AUDIT_PAYMENT))
    await beaten.work_in_hand()
    async with _admin(beaten) as admin:
        try:
            await _configure(admin, topic, {"message.timestamp.before.max.ms": "0"})
            await _until_held(beaten, topic.owner)
            during = await _decided(beaten)
        finally:
            await _configure(admin, topic, {})
    await _until_published(beaten, topic.owner)
    if not during.in_time:
        raise Breach(f"{topic.name} refuses, and none of {during.placed} orders was decided")
    return (
        f"{topic.name} refused what {topic.owner} sent for {_SECONDS:.0f} s, and "
        f"{during.in_time} of {during.placed} orders were decided meanwhile; all was published"
    )


@fault(name="partition-under-min-isr", row=ROW, soak_only=True)
async def partition_under_min_isr(beaten: Beaten, rng: random.Random) -> str:
    """Two of five brokers stop. All partitions but one have their copies on the other three."""
    topics = (ORDER_COMMANDS, ORDER_EVENTS, INVENTORY_COMMANDS, INVENTORY_EVENTS)
    topic = rng.choice((*topics, PAYMENT_COMMANDS, PAYMENT_EVENTS, AUDIT_ORDER))
    partition = rng.randrange(PARTITIONS)
    order = rng.sample(range(len(beaten.stack.brokers)), k=len(beaten.stack.brokers))
    if len(order) < _NEEDED:
        raise NotStruck(f"{len(order)} brokers: two must stop, and three have copies of the rest")
    names = [beaten.stack.brokers[number] for number in order]
    nodes = [number + 1 for number in order]
    stopped = names[3:5]
    async with _admin(beaten) as admin:
        await _move(admin, nodes[:3], nodes[3:5], (topic.name, partition))
    waiting = await beaten.work_in_hand()
    usual = await _decided(beaten, but_not=partition)
    try:
        for name in stopped:
            await beaten.stop(name)
        held_by = await _until_held(beaten, *SERVICES)
        during = await _decided(beaten, but_not=partition)
    finally:
        await asyncio.gather(*(_back(beaten, name) for name in stopped))
    await _until_published(beaten, *SERVICES)
    what = (
        f"{topic.name}/{partition} had one copy of three, as {' and '.join(stopped)} were stopped "
        f"with {waiting} orders in hand; of the orders on other partitions {during.in_time} of "
        f"{during.placed} were decided within {_TO_BE_DECIDED:.0f} s, before it {usual.in_time} of "
        f"{usual.placed}"
    )
    if during.in_time < _KEPT * usual.in_time:
        raise Breach(what)
    return f"{what}; {held_by} left its messages in the outbox, and published all of them later"


async def _decided(beaten: Beaten, *, but_not: int | None = None) -> Decided:
    """Look at the orders that are placed from now on, but for those of one partition."""
    (began,) = await beaten.rows("order", "SELECT clock_timestamp() AS time")
    await asyncio.sleep(_SECONDS)
    rows = await beaten.rows(
        "order",
        """
        SELECT id::text AS id, version > 2 AS decided FROM orders
         WHERE created_at > $1 AND created_at < clock_timestamp() - make_interval(secs => $2)
        """,
        began["time"],
        _TO_BE_DECIDED,
    )
    others = [row for row in rows if hash_of(row["id"]) % PARTITIONS != but_not]
    return Decided(len(others), sum(row["decided"] for row in others))


async def _until_held(beaten: Beaten, *services: str) -> str:
    """Until a service has noticed: which one. Raises NotStruck."""
    found: list[str] = []

    async def noticed() -> int:
        found[:] = [name for name in services if await beaten.metric(name, HELD)]
        return len(found)

    await beaten.until(noticed, within=30, otherwise="nothing was sent there", every=0.2)
    return ", ".join(found)


async def _until_published(beaten: Beaten, *services: str) -> None:
    held: list[str] = []

    async def nothing_held() -> int:
        held.clear()
        for service in services:
            rows = await beaten.rows(
                service,
                """
                SELECT held_for, count(*) AS rows FROM outbox
                 WHERE held_for IS NOT NULL GROUP BY held_for
                """,
            )
            held.extend(f"{row['rows']} rows of {service} for {row['held_for']}" for row in rows)
        return not held

    try:
        await beaten.until(nothing_held, within=60, otherwise="", every=0.3)
    except NotStruck:
        raise Breach(f"not published although it can be: {'; '.join(held)}") from None


async def _back(beaten: Beaten, broker: str) -> None:
    """A broker of five takes longer to start on a slow machine than one gets elsewhere."""
    for _ in range(2):
        with suppress(StackError):
            await beaten.revive(broker)
            return
    await beaten.revive(broker)


@asynccontextmanager
async def _admin(beaten: Beaten) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=beaten.stack.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _configure(admin: AIOKafkaAdminClient, topic: Topic, extra: Mapping[str, str]) -> None:
    settings = {**settings_of(topic), **extra}  # what is not named goes back to its default
    answers = await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic.name, settings)]
    )
    wrong = [each for answer in answers for each in answer.resources if each[0]]
    if wrong:
        raise NotStruck(f"the broker does not change {topic.name}: {wrong}")


async def _move(
    admin: AIOKafkaAdminClient,
    stay: Sequence[int],
    stop: Sequence[int],
    victim: tuple[str, int],
) -> None:
    """Put every partition on the brokers that stay, and the victim on one of them and on those
    that will stop."""
    wanted = {
        place: [*stay[number % 3 :], *stay[: number % 3]]
        for number, place in enumerate(sorted(await _replicas(admin)))
    }
    wanted[victim] = [stay[0], *stop]
    topics: dict[str, list[tuple[int, list[int], dict[int, bytes]]]] = {}
    for (name, partition), replicas in wanted.items():
        topics.setdefault(name, []).append((partition, replicas, {}))
    request = AlterPartitionReassignmentsRequest(
        60_000, [(name, partitions, {}) for name, partitions in topics.items()], {}
    )
    answer = await admin._send_request(request)
    if answer.error_code:
        raise NotStruck(f"partitions cannot be moved: {answer.error_message}")
    for _ in range(600):
        now = await _replicas(admin)
        if all(sorted(now.get(place, [])) == sorted(wanted[place]) for place in wanted):
            return
        await asyncio.sleep(0.2)
    raise NotStruck("the partitions did not arrive within two minutes")


async def _replicas(admin: AIOKafkaAdminClient) -> Places:
    """The copies of each partition that are in sync; those that are on their way there are not."""
    described = await admin.describe_topics(await admin.list_topics())
    return {
        (topic["topic"], each["partition"]): (
            each["replicas"] if set(each["replicas"]) == set(each["isr"]) else []
        )
        for topic in described
        for each in topic["partitions"]
    }
