"""The network between two processes breaks: nothing passes, answers are lost, all is slow."""

import asyncio
import random

from deploy.local.directory import is_service
from tests.faults.nemesis import SERVICES, Beaten, Breach, NotStruck, fault

ROW = "Network cut, slow, reset"


@fault(name="network-cut", row=ROW)
async def network_cut(beaten: Beaten, rng: random.Random) -> str:
    """A link, or all links of a service; what was sent meanwhile arrives late."""
    way = rng.choice([*beaten.network.ways, *SERVICES])
    seconds = rng.uniform(2.0, 12.0)
    waiting = await beaten.work_in_hand()
    touched = len(beaten.network.connections(way))
    try:
        await beaten.network.cut(way)
        silent = await beaten.network.knock(way) is None
        await asyncio.sleep(seconds)
        piled = await beaten.in_hand()
    finally:
        await beaten.network.heal(way)
    await _recovered(beaten, way)
    if not silent or not touched:
        raise NotStruck(f"{way} had {touched} connections; silent: {silent}")
    return (
        f"{touched} connections of {way} were dead for {seconds:.1f} s with {waiting} orders in "
        f"hand, {piled} at the end"
    )


@fault(name="network-answers-lost", row=ROW)
async def network_answers_lost(beaten: Beaten, rng: random.Random) -> str:
    """What is sent arrives, its answer does not: the connection breaks, and all comes again."""
    way = rng.choice(beaten.network.ways)
    holds = [rng.uniform(0.2, 1.0) for _ in range(rng.randint(2, 5))]
    waiting = await beaten.work_in_hand()
    broken = 0
    for hold in holds:
        try:
            await beaten.network.mute(way)
            await asyncio.sleep(hold)
            before = beaten.network.connections(way)
            await beaten.network.reset(way)
            broken += len(before - beaten.network.connections(way))
        finally:
            await beaten.network.heal(way)
        await asyncio.sleep(hold)
    await _recovered(beaten, way)
    if not broken:
        raise NotStruck(f"no connection of {way} was open")
    return (
        f"{way} lost its answers {len(holds)} times, {broken} connections broke after it, "
        f"with {waiting} orders in hand"
    )


@fault(name="network-slow", row=ROW)
async def network_slow(beaten: Beaten, rng: random.Random) -> str:
    """Each statement, request or answer takes longer by more than it takes."""
    way = rng.choice([*beaten.network.ways, *SERVICES])
    delay, seconds = rng.uniform(0.05, 0.5), rng.uniform(3.0, 8.0)
    waiting = await beaten.work_in_hand()
    usual = await beaten.network.knock(way)
    try:
        await beaten.network.slow(way, delay)
        slowed = await beaten.network.knock(way, within=5)
        await asyncio.sleep(seconds)
    finally:
        await beaten.network.heal(way)
    await _recovered(beaten, way)
    if usual is None or (slowed is not None and slowed < delay):
        raise NotStruck(f"{way} answered within {usual} s, slowed within {slowed} s")
    took = "nothing in 5 s" if slowed is None else f"{slowed:.2f} s"
    return (
        f"an answer over {way} took {took} instead of {usual:.3f} s for {seconds:.1f} s, "
        f"with {waiting} orders in hand"
    )


@fault(name="network-reset", row=ROW)
async def network_reset(beaten: Beaten, rng: random.Random) -> str:
    """All connections of a link break at once, and new ones for a while; several times."""
    way = rng.choice([*beaten.network.ways, *SERVICES])
    times = [(rng.uniform(0.1, 1.0), rng.uniform(0.2, 1.5)) for _ in range(rng.randint(2, 6))]
    waiting = await beaten.work_in_hand()
    broken = 0
    for away, back in times:
        before = beaten.network.connections(way)
        try:
            await beaten.network.reset(way)
            await asyncio.sleep(away)
            broken += len(before - beaten.network.connections(way))
        finally:
            await beaten.network.heal(way)
        await asyncio.sleep(back)
    await _recovered(beaten, way)
    if not broken:
        raise NotStruck(f"no connection of {way} was open")
    return f"{broken} connections of {way} broke, in {len(times)} waves, {waiting} orders in hand"


@fault(name="network-flaps", row=ROW, soak_only=True)
async def network_flaps(beaten: Beaten, rng: random.Random) -> str:
    """The way to the broker breaks again before what it interrupted is repaired: clients with
    several tasks on a connection lose one of them in the middle of something."""
    way = rng.choice([way for way in beaten.network.ways if way.endswith("-kafka")])
    times = [(rng.uniform(0.0, 0.08), rng.uniform(0.05, 0.4)) for _ in range(40)]
    waiting = await beaten.work_in_hand()
    broken = 0
    for away, back in times:
        before = beaten.network.connections(way)
        try:
            await beaten.network.reset(way)
            await asyncio.sleep(away)
        finally:
            await beaten.network.heal(way)
        broken += len(before - beaten.network.connections(way))
        await asyncio.sleep(back)
    await _recovered(beaten, way)
    if not broken:
        raise NotStruck(f"no connection of {way} was open")
    return f"{broken} connections of {way} broke, in {len(times)} waves, {waiting} orders in hand"


async def _recovered(beaten: Beaten, way: str) -> None:
    """Bytes pass again, and whoever needs the link is ready again by itself."""
    if await beaten.network.knock(way, within=10) is None:
        raise NotStruck(f"{way} was not healed")
    client = way.partition("-")[0]
    try:
        await beaten.revive(*(name for name in beaten.stack.recorded() if _is_of(name, client)))
    except Exception as error:
        raise Breach(f"{client} did not recover from what was done to {way}: {error}") from error


def _is_of(process: str, client: str) -> bool:
    return is_service(process) and process.partition("-")[0] == client
