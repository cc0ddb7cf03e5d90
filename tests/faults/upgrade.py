"""The previous release and this one side by side under load: forward, back, and forward again.

    all of the previous release
    this one joins, both work, webhooks get lost, the previous one leaves
    all of this release
    the previous one joins again, both work, this one leaves (a rollback), and so on
    rest, and the verdict

`make upgrade` moves one service after the other, so that each meets all others in both releases.
Of each service `order-1` is the previous release and `order-2` this one; customers and Stripe find
whichever gateways there are through one door.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import psutil
import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.topics import DEAD_LETTERS
from deploy.local.errors import StackError
from deploy.local.home import PROJECT
from deploy.local.services import STRIPE
from deploy.local.stack import LocalStack
from deploy.verify.evidence import Evidence
from deploy.verify.stripe import read_stripe
from tests.faults.door import Door
from tests.faults.nemesis import SERVICES, Beaten, Breach, NotStruck
from tests.faults.release import previous_release
from tests.faults.standin import StandIn
from tests.faults.trial import HOME, IMPATIENT, Judgement, fresh, judge, silent
from tests.looking import system_of

ENOUGH = 20
"""Messages that both releases must have handled while they ran side by side."""
LOST_WEBHOOKS: Final = {"kind": "webhook_dropped", "rate": 0.3, "count": 30}
SEED = 1


class Release(NamedTuple):
    name: str
    number: int
    source: Path


@dataclass(frozen=True, slots=True)
class Fleet:
    """The replicas of both releases."""

    beaten: Beaten
    door: Door

    async def join(self, service: str, release: Release) -> str:
        """Start a replica and wait until it is ready; returns the name of its process."""
        name = f"{service}-{release.number}"
        await asyncio.to_thread(self.beaten.stack.start, name, source=release.source)
        folder = Path(psutil.Process(self.beaten.pid(name)).cwd())
        if folder != release.source.resolve():
            raise Breach(f"{name} does not run the code of the {release.name} release")
        if service == "gateway":
            self.door.add(self.beaten.stack.home.port(name))
        return name

    async def leave(self, service: str, release: Release) -> None:
        """Stop a replica, which must end by itself."""
        name = f"{service}-{release.number}"
        if service == "gateway":
            self.door.remove(self.beaten.stack.home.port(name))
        if not await self.beaten.stop(name):
            raise Breach(f"{name} had to be killed")

    async def hand_over(self, service: str, old: Release, new: Release) -> None:
        """The new release of a service joins beside the old one, which leaves when both worked."""
        name = await self.join(service, new)
        worked = await self._both_work({old.name: f"{service}-{old.number}", new.name: name})
        await self.leave(service, old)
        print(f"  {service:<9} handed over by {worked}", flush=True)

    async def _both_work(self, replicas: dict[str, str]) -> str:
        """Wait until each has handled enough messages from now on; says how many."""
        before = {release: await self._handled(name) for release, name in replicas.items()}
        counts: dict[str, float] = {}

        async def enough() -> int:
            for release, name in replicas.items():
                counts[release] = await self._handled(name) - before[release]
            return int(min(counts.values()) >= ENOUGH)

        await self.beaten.until(
            enough,
            within=60,
            otherwise=f"not both of {', '.join(replicas.values())} had work",
            error=Breach,
            every=0.3,
        )
        said = (f"the {release} one {count:.0f}" for release, count in counts.items())
        return f"both, of {ENOUGH} messages at least: {', '.join(said)}"

    async def _handled(self, name: str) -> float:
        return await self.beaten.metric_of(name, "orderflow_messages_consumed_total")


async def upgrade(*, rate: float, short: bool, home: Path = HOME) -> Judgement:
    """Go forward, back and forward again under load, and judge what came of it.

    `short`: all services change at once instead of one after the other, and it ends with the way
    back. Raises StackError if the previous release cannot be had, or a service of either release
    does not start.
    """
    previous = Release("previous", 1, await asyncio.to_thread(previous_release))
    this = Release("new", 2, PROJECT)
    stack = LocalStack(home, environment=IMPATIENT, only=SERVICES, linked=True, say=silent)
    judgement = Judgement()
    async with fresh(stack) as beaten:
        fleet = Fleet(beaten, Door(stack.home.claim_port("gateway")))

        async def change() -> None:
            try:
                await _losing_webhooks(beaten, _move(fleet, previous, this, together=short))
                await _move(fleet, this, previous, together=short)
                if not short:
                    await _move(fleet, previous, this, together=False)
            except (Breach, NotStruck) as why:
                judgement.broken.append(str(why))

        async with fleet.door:
            began = time.monotonic()
            await asyncio.to_thread(stack.up_infrastructure)
            await asyncio.to_thread(stack.start, STRIPE.name)
            await _all(fleet.join(service, previous) for service in SERVICES)
            judgement.seconds["start"] = time.monotonic() - began
            await judge(
                stack, system_of(stack), beaten.client, judgement, change, rate=rate, seed=SEED
            )
        judgement.broken += [each async for each in _set_aside(beaten)]
    return judgement


async def _move(fleet: Fleet, old: Release, new: Release, *, together: bool) -> None:
    print(f"from the {old.name} release to the {new.name} one", flush=True)
    moves = [fleet.hand_over(service, old, new) for service in SERVICES]
    if together:
        await _all(moves)
    else:
        for move in moves:
            await move


async def _losing_webhooks(beaten: Beaten, moving: Awaitable[None]) -> None:
    """Meanwhile some never come: what one release does about that, the other has to bear."""
    standin = StandIn(beaten)
    await standin.strike([LOST_WEBHOOKS])
    await moving
    left = (await standin.left()).get("webhook_dropped", 0)
    await standin.clear()
    if left == LOST_WEBHOOKS["count"]:
        raise NotStruck("no webhook was lost")
    stripe = Evidence()
    system = system_of(beaten.stack)
    await read_stripe(system.stripe, system.stripe_key, stripe)
    happened = list(stripe.stripe_events)

    async def known() -> int:
        (row,) = await beaten.rows(
            "payment", "SELECT count(*) FROM stripe_events WHERE event_id = ANY($1)", happened
        )
        return int(row["count"] == len(happened))

    await beaten.until(
        known, within=30, otherwise="lost webhooks were not made up for", error=Breach, every=0.3
    )


async def _set_aside(beaten: Beaten) -> AsyncIterator[str]:
    """What a service could not handle, whatever became of it later."""
    for service in SERVICES:
        for row in await beaten.rows(
            service, "SELECT reason, count(*) FROM parked_messages GROUP BY reason"
        ):
            yield f"{service} parked {row['count']}: {row['reason']}"
    consumer = AIOKafkaConsumer(bootstrap_servers=beaten.stack.kafka)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(
            [TopicPartition(topic.name, 0) for topic in DEAD_LETTERS.values()]
        )
    finally:
        await consumer.stop()
    for place, end in ends.items():
        if end:
            yield f"{place.topic} has {end} records"


async def _all(calls: Iterable[Awaitable[object]]) -> None:
    """All at once and to their ends; raises what the first that failed raised."""
    for done in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(done, BaseException):
            raise done


def main(
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 20,
    short: Annotated[bool, typer.Option(help="As in CI: all at once, forward and back.")] = False,
) -> None:
    """Run both releases side by side. Exits with 1 on a breach."""
    try:
        judgement = asyncio.run(upgrade(rate=rate, short=short))
    except StackError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in judgement.seconds.items())
    print(f"{judgement.orders} orders; {took}")
    for breach in judgement.wrong[:20]:
        print(f"BREACH {breach}")
    print("FAILED" if judgement.wrong else "passed")
    raise typer.Exit(1 if judgement.wrong else 0)


if __name__ == "__main__":
    typer.run(main)
