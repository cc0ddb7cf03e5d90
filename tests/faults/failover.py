"""The primary database server is lost under load, and its standby promoted: `make failover`.

Synchronous: a commit has waited for the standby. The services find the new primary by themselves,
and no promise is broken. Asynchronous: the standby lacks the last commits. Every service must
notice and stop; then the procedure of docs/deployment.md takes Kafka back, and the same
comparison as after a restore holds.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import httpx
import typer

from contracts.order import RefundOrder
from deploy import rewind
from deploy.local.errors import StackError
from deploy.local.stack import LocalStack
from deploy.verify.databases import fetch
from deploy.verify.told import Told
from deploy.verify.topics import refused_commands
from tests.faults.__main__ import SHOWN
from tests.faults.asking import browsers
from tests.faults.driver import Load
from tests.faults.nemesis import SERVICES, Beaten, Breach, NotStruck
from tests.faults.restored import breaches_but_for_people
from tests.faults.trial import (
    HOME,
    IMPATIENT,
    WARM_UP,
    Judgement,
    compare,
    everything_ends,
    fresh,
    judge,
    offering,
    products,
    silent,
)
from tests.looking import TO_REST, system_of
from tests.replicated import ReplicatedPostgres

SECONDS_TO_NOTICE = 30.0
SEED = 1


class Failover:
    """A fresh stack on two servers, and the loss of the first."""

    def __init__(self, beaten: Beaten, judgement: Judgement) -> None:
        server = beaten.stack.postgres_server
        assert isinstance(server, ReplicatedPostgres)
        self._server = server
        self._beaten = beaten
        self._stack = beaten.stack
        self._judgement = judgement
        self._parts = system_of(self._stack)

    async def start(self, *, synchronous: bool) -> None:
        """Servers, then services, all replicating from their first commit on."""
        with self._timed("start"):
            await asyncio.to_thread(self._stack.up_infrastructure)
            await asyncio.to_thread(self._server.replicate, synchronous=synchronous)
            await asyncio.to_thread(self._stack.up)

    async def synchronous(self, rate: float, seconds: float) -> list[str]:
        """Lose the primary in the midst of the load; returns the breaches."""

        async def trial() -> None:
            await asyncio.sleep(seconds)
            waiting = await self._beaten.work_in_hand()
            before = await self._orders()
            with self._timed("failover"):
                await self._lose_and_promote()
                for service in SERVICES:
                    await asyncio.to_thread(self._stack.wait_ready, service)
            print(
                f"primary lost after {before} orders, {waiting} of them in hand; "
                f"{await self._orders()} orders when all services were ready again",
                flush=True,
            )
            await asyncio.sleep(seconds)

        await judge(
            self._stack,
            self._parts,
            self._beaten.client,
            self._judgement,
            trial,
            rate=rate,
            seed=SEED,
        )
        return self._judgement.wrong

    async def asynchronous(self, rate: float, seconds: float) -> list[str]:
        """Cut the standby off, lose the primary, and see every service refuse the promoted server.
        Then follow the procedure. Returns the breaches that are not left to staff."""
        async with browsers(TO_REST) as ask:
            supply = await products(self._stack, self._beaten.client)
            load = Load(self._stack, ask, SEED, Told(supply=supply))
            async with offering(load, rate):
                await asyncio.sleep(WARM_UP + seconds)
                await asyncio.to_thread(self._server.standby.cut_off)
                kept = len(load.stories)
                await asyncio.sleep(seconds)
            acknowledged = {answer.order_id for answer in load.told.acknowledged}
            with self._timed("refusal"):
                await self._lose_and_promote()
                for service in SERVICES:
                    print(f"  {service}: {await self._refusal_of(service)}", flush=True)
            known = await fetch(self._parts.postgres["order"], "SELECT id::text FROM orders")
            forgotten = acknowledged - {row["id"] for row in known}
            if not forgotten:
                raise NotStruck("the standby had every order: nothing was lost")
            print(
                f"{kept} orders, standby cut off, {len(load.stories) - kept} orders; the promoted "
                f"server has forgotten {len(forgotten)} that customers were promised",
                flush=True,
            )
            with self._timed("procedure"):
                await self._follow_the_procedure()
            await everything_ends(self._parts, TO_REST)
            evidence = await compare(self._parts, load, self._judgement, TO_REST)
        breaches = await breaches_but_for_people(self._parts, self._judgement, evidence)
        refused = await self._refused_refunds()
        left = {breach for breach in breaches if any(order in breach for order in refused)}
        print(f"{len(left)} refunds refused, as the payment was made anew later: left to staff")
        return [breach for breach in breaches if breach not in left]

    async def _refused_refunds(self) -> set[str]:
        """Orders whose refund by staff had not reached Stripe, and came before the payment when
        all was handled again. Ops shows the refusal; staff request the refund again."""
        refused = await refused_commands(self._parts.kafka, self._parts.postgres["order"])
        return {
            str(each.order_id)
            for each in refused
            if each.command == RefundOrder.wire_type and "refund" in each.reason
        }

    async def _lose_and_promote(self) -> None:
        await asyncio.to_thread(self._server.lose)
        await asyncio.to_thread(self._server.standby.promote)

    async def _refusal_of(self, service: str) -> str:
        """What the service says about the promoted server, which it must not work on."""
        refusal = ""

        async def refused() -> int:
            nonlocal refusal
            answer = await self._beaten.client.get(f"{self._stack.url(service)}/readyz")
            refusal = answer.json().get("missing", {}).get("database", "")
            return int("Stop all services" in refusal)

        await self._beaten.until(
            refused,
            within=SECONDS_TO_NOTICE,
            otherwise=f"{service} does not refuse the promoted server",
            error=Breach,
            every=0.2,
        )
        return refusal

    async def _follow_the_procedure(self) -> None:
        """docs/deployment.md, After a failover that lost commits."""
        kafka = self._parts.kafka
        await self._each(self._beaten.stop, *SERVICES)
        since = await rewind.begin(self._server.standby.admin_dsn, kafka)
        await self._each(self._beaten.start, "order", "inventory")
        await rewind.wait(kafka, ["order", "inventory"])
        await self._beaten.start("payment")
        await rewind.wait(kafka, ["order", "inventory", "payment"])
        await self._beaten.stop("payment")
        await rewind.webhooks(kafka, since)
        await self._each(self._beaten.start, "payment", "gateway")

    @staticmethod
    async def _each(call: Callable[[str], Awaitable[object]], *services: str) -> None:
        await asyncio.gather(*(call(service) for service in services))

    async def _orders(self) -> int:
        (row,) = await self._beaten.rows("order", "SELECT count(*) FROM orders")
        return int(row["count"])

    def _timed(self, part: str) -> "_Timer":
        return _Timer(self._judgement, part)


class _Timer:
    def __init__(self, judgement: Judgement, part: str) -> None:
        self._judgement, self._part = judgement, part

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._judgement.seconds[self._part] = time.monotonic() - self._began


async def run(*, synchronous: bool, rate: float, seconds: float) -> tuple[Judgement, list[str]]:
    """One failover; returns the judgement, and the breaches of promises."""
    stack = LocalStack(
        HOME,
        # Longer than the procedure takes: who has not paid by then counts as one who will not.
        environment=IMPATIENT | ({} if synchronous else {"RESERVATION_SECONDS": "60"}),
        only=SERVICES,
        postgres=ReplicatedPostgres,
        say=silent,
    )
    judgement = Judgement()
    async with fresh(stack) as beaten:
        failover = Failover(beaten, judgement)
        await failover.start(synchronous=synchronous)
        try:
            act = failover.synchronous if synchronous else failover.asynchronous
            return judgement, await act(rate, seconds)
        except (Breach, NotStruck, httpx.HTTPError) as why:
            return judgement, [*judgement.wrong, f"{type(why).__name__}: {why}"]


def main(
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 10,
    seconds: Annotated[float, typer.Option(help="Before the loss, and again after it.")] = 10,
    only: Annotated[str | None, typer.Option(help="synchronous or asynchronous.")] = None,
) -> None:
    """Both kinds, one after the other. Exits with 1 on a breach of a promise."""
    failed = False
    for kind, synchronous in (("synchronous", True), ("asynchronous", False)):
        if only not in (None, kind):
            continue
        print(f"{kind} standby", flush=True)
        try:
            judgement, wrong = asyncio.run(run(synchronous=synchronous, rate=rate, seconds=seconds))
        except StackError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from error
        took = ", ".join(f"{name} {spent:.0f} s" for name, spent in judgement.seconds.items())
        for breach in wrong[:SHOWN]:
            print(f"BREACH {breach}")
        print(f"{judgement.orders} orders; {took}; {len(judgement.findings)} promises compared")
        print(f"{len(wrong)} breaches: {'FAILED' if wrong else 'passed'}", flush=True)
        failed = failed or bool(wrong)
    raise typer.Exit(failed)


if __name__ == "__main__":
    typer.run(main)
