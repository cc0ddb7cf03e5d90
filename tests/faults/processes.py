"""Services that die, stand still, come and go."""

import asyncio
import random
import signal
from collections.abc import Sequence

import psutil
from aiokafka.admin import AIOKafkaAdminClient

from tests.faults.nemesis import SERVICES, Beaten, Breach, NotStruck, fault

CRASHES = (
    *((service, point) for service in SERVICES for point in ("after-commit", "after-publish")),
    ("payment", "after-stripe-call"),
    *((service, "mid-sweep") for service in SERVICES),
)


@fault(name="kill", row="kill -9 of each service")
async def kill(beaten: Beaten, rng: random.Random) -> str:
    """At any moment at which orders are in hand; it comes back after its work has piled up."""
    service, dead = rng.choice(SERVICES), rng.uniform(0.1, 3.0)
    waiting = await beaten.work_in_hand()
    try:
        died = await beaten.kill(service)
        await asyncio.sleep(dead)
        piled = await beaten.in_hand()
    finally:
        await beaten.revive(service)
    return f"{died} with {waiting} orders in hand, {piled} when it came back after {dead:.1f} s"


@fault(name="kill-all", row="kill -9 of each service")
async def kill_all(beaten: Beaten, rng: random.Random) -> str:
    """As when the machine loses its power, but for the servers."""
    dead = rng.uniform(0.1, 2.0)
    waiting = await beaten.work_in_hand()
    try:
        died = await asyncio.gather(*(beaten.kill(service) for service in SERVICES))
        await asyncio.sleep(dead)
    finally:
        await asyncio.gather(*(beaten.revive(service) for service in SERVICES))
    return f"{'; '.join(died)} with {waiting} orders in hand"


@fault(name="crash-point", row="kill -9 of each service")
async def crash_point(beaten: Beaten, rng: random.Random) -> str:
    """At the worst moments there are. A sweep finds something only after another crash."""
    service, point = rng.choice(CRASHES)
    return await _crash(
        beaten, service, ("after-commit", point) if point == "mid-sweep" else (point,)
    )


@fault(name="crash-before-commit", row="kill -9 of each service", soak_only=True)
async def crash_before_commit(beaten: Beaten, rng: random.Random) -> str:
    """All that piled up while the service was away is in hand, and comes again. Not in the seeds
    of CI only so that those keep the faults that they are known for."""
    return await _crash(beaten, rng.choice(SERVICES), ("before-commit",))


async def _crash(beaten: Beaten, service: str, points: Sequence[str]) -> str:
    evidence = []
    try:
        await beaten.stop(service)
        for each in points:
            await beaten.start(service, env={"CRASH_AT": each}, wait=False)
            pid = beaten.pid(service)
            died = await beaten.death(service, within=30)
            if beaten.stack.process(service).exit_status != -signal.SIGKILL:
                raise NotStruck(f"{service} {died} before it came to {each}")
            (row,) = await beaten.rows(service, "SELECT count(*) FROM outbox")
            evidence.append(
                f"{service} (pid {pid}) {died} {each}, {row['count']} transactions in its outbox"
            )
    finally:
        await beaten.revive(service)
    return "; ".join(evidence)


@fault(name="pause", row="Pause")
async def pause(beaten: Beaten, rng: random.Random) -> str:
    """SIGSTOP for a while that its group does not notice."""
    service, seconds = rng.choice(SERVICES), 5.0
    waiting = await beaten.work_in_hand()
    pid = beaten.pid(service)
    beaten.stack.kill(service, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
        status = psutil.Process(pid).status()
    finally:
        beaten.stack.kill(service, signal.SIGCONT)
    await beaten.revive(service)
    if status != psutil.STATUS_STOPPED:
        raise NotStruck(f"{service} was {status} in its pause")
    return f"{service} (pid {pid}) stood still for {seconds:.0f} s with {waiting} orders in hand"


@fault(name="pause-past-session", row="Pause")
async def pause_past_session(beaten: Beaten, rng: random.Random) -> str:
    """SIGSTOP until the group has given its partitions to another replica, and a bit longer: what
    the zombie then commits must change nothing."""
    service, longer = rng.choice(SERVICES), rng.uniform(0.0, 3.0)
    second = f"{service}-2"
    session = float(beaten.stack.environment_of(service).get("SESSION_TIMEOUT_SECONDS", 10))
    helped = beaten.pid(second) is None
    try:
        if helped:
            await beaten.start(second)
        await _members(beaten, service, 2)
        waiting = await beaten.work_in_hand()
        beaten.stack.kill(service, signal.SIGSTOP)
        try:
            await _members(beaten, service, 1, within=session + 15)
            await asyncio.sleep(longer)
        finally:
            beaten.stack.kill(service, signal.SIGCONT)
        await _members(beaten, service, 2, error=Breach)
    finally:
        if helped:
            await beaten.stop(second)
    await beaten.revive(service)
    return (
        f"{service} (pid {beaten.pid(service)}) stood still with {waiting} orders in hand until "
        f"its group had thrown it out, and {longer:.1f} s more; it joined again"
    )


@fault(name="replicas", row="Rebalance", soak_only=True)
async def replicas(beaten: Beaten, rng: random.Random) -> str:
    """A second and a third replica come and go, every 5 s."""
    service = rng.choice(SERVICES)
    further = [f"{service}-{number}" for number in (2, 3)]
    further = [name for name in further if beaten.pid(name) is None]
    counts = [await _group_size(beaten, service)]
    try:
        for name in further * 2:
            await (beaten.start(name) if beaten.pid(name) is None else beaten.stop(name))
            await asyncio.sleep(5)
            counts.append(await _group_size(beaten, service))
    finally:
        for name in further:
            await beaten.stop(name)
    if max(counts) == counts[0]:
        raise NotStruck(f"the group of {service} stayed as it was: {counts}")
    return f"the group of {service} had {', '.join(map(str, counts))} members"


@fault(name="restart", row="Rebalance")
async def restart(beaten: Beaten, rng: random.Random) -> str:
    """SIGTERM finishes the batch in hand and leaves the group; nothing has to be killed."""
    service = rng.choice(SERVICES)
    waiting = await beaten.work_in_hand()
    pid = beaten.pid(service)
    try:
        if not await beaten.stop(service):
            raise Breach(f"{service} did not stop within the time that it has")
    finally:
        await beaten.revive(service)
    return f"{service} (pid {pid}) stopped with {waiting} orders in hand, now {beaten.pid(service)}"


async def _members(
    beaten: Beaten,
    service: str,
    count: int,
    *,
    within: float = 30,
    error: type[Exception] = NotStruck,
) -> None:
    async def reached() -> int:
        return await _group_size(beaten, service) == count

    await beaten.until(
        reached,
        within=within,
        otherwise=f"the group of {service} did not come to {count} members",
        error=error,
        every=0.2,
    )


async def _group_size(beaten: Beaten, group: str) -> int:
    admin = AIOKafkaAdminClient(bootstrap_servers=beaten.stack.kafka)
    try:
        await admin.start()
        (answer,) = await admin.describe_consumer_groups([group])
    finally:
        await admin.close()
    ((_error, _group, _state, _protocol_type, _protocol, members, *_),) = answer.groups
    return len(members)
