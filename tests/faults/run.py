"""One run: a seed makes a schedule; load, faults, rest, verdict.

    start the stack, every link through a proxy
    offer orders all the time; strike, heal, strike, heal ...
    stop the load, wait until every order has come to its end
    compare databases, topics, Stripe and the model

The same seed gives the same customers and the same faults with the same choices. When exactly a
fault meets which message is up to the machine: a seed that found something is run several times.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deploy.local.home import PROJECT
from deploy.local.shop import Shop
from deploy.local.stack import LocalStack
from deploy.verify.invariants import Finding, check_all
from deploy.verify.rest import come_to_rest, gather
from tests.faults.driver import PRICE, Load, browsers
from tests.faults.nemesis import FAULTS, Beaten, NotStruck
from tests.faults.network import Network
from tests.faults.verdict import model_breaches, paths_taken
from tests.looking import TO_REST, system_of

HOME = PROJECT / ".local" / "faults"
# Impatient, so that what a fault interrupts goes on within seconds.
IMPATIENT = {
    "STEP_TIMEOUT_SECONDS": "2",
    "OUTBOX_LEASE_SECONDS": "1",
    "SESSION_TIMEOUT_SECONDS": "6",
    "RECONCILE_SECONDS": "2",
    "RESERVATION_SECONDS": "15",
}
ALWAYS = ("crash-point", "duplicates", "handler-raises")
"""Without these, a run would not take all of the interesting paths."""
WARM_UP = 2.0


@dataclass(slots=True)
class Verdict:
    seed: int
    struck: dict[str, str] = field(default_factory=dict)
    """Evidence by fault."""
    missed: dict[str, str] = field(default_factory=dict)
    """Why a fault could not be made, or could not prove that it struck."""
    broken: list[str] = field(default_factory=list)
    """What a fault itself saw the system do that it must not do."""
    findings: list[Finding] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    paths: dict[str, int] = field(default_factory=dict)
    orders: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def breaches(self) -> list[str]:
        """Why the run fails; empty when it passes."""
        found = [*self.broken, *(f"model: {each}" for each in self.model)]
        for finding in self.findings:
            found += [f"{finding.invariant.number}: {each}" for each in finding.breaches]
        if len(self.struck) < 2:
            found.append(f"only {len(self.struck)} faults struck: {self.missed}")
        found += [f"path never taken: {path}" for path, count in self.paths.items() if not count]
        return found


def schedule_of(seed: int, count: int, *, soak: bool = False) -> list[str]:
    """The faults of a seed, in their order: those of ALWAYS and others, `count` in all."""
    rng = random.Random(seed)
    others = [
        name
        for name, each in sorted(FAULTS.items())
        if name not in ALWAYS and (soak or not each.soak_only)
    ]
    chosen = [*ALWAYS, *rng.sample(others, k=min(count - len(ALWAYS), len(others)))]
    rng.shuffle(chosen)
    return chosen


async def run(
    seed: int, schedule: Sequence[str], *, rate: float, brokers: int = 1, home: Path = HOME
) -> Verdict:
    """Beat a fresh system and judge it."""
    stack = LocalStack(home, environment=IMPATIENT, linked=True, brokers=brokers, say=_silent)
    verdict = Verdict(seed)
    with stack.home.lock():
        await asyncio.to_thread(stack.clean)
        network = Network(stack)
        await asyncio.to_thread(network.start)
        try:
            began = time.monotonic()
            await asyncio.to_thread(stack.up)
            verdict.seconds["start"] = time.monotonic() - began
            await _beat(stack, network, schedule, rate, verdict)
        finally:
            await asyncio.to_thread(stack.down)
            network.stop()
    return verdict


async def _beat(
    stack: LocalStack, network: Network, schedule: Sequence[str], rate: float, verdict: Verdict
) -> None:
    duplicates = 0.0
    async with browsers() as http, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        beaten = Beaten(stack, network, client)
        load = Load(stack, http, verdict.seed, await _products(stack, client))
        stop, began = asyncio.Event(), time.monotonic()
        offering = asyncio.create_task(load.offer(rate, stop))
        try:
            await asyncio.sleep(WARM_UP)
            for number, name in enumerate(schedule):
                await _strike(beaten, name, random.Random(f"{verdict.seed}:{number}"), verdict)
                duplicates = max(duplicates, await _duplicates(beaten))
        finally:
            stop.set()
            verdict.seconds["faults"] = time.monotonic() - began
            await offering
        began = time.monotonic()
        await _everything_ends(beaten)
        verdict.seconds["rest"] = time.monotonic() - began
        evidence = await gather(system_of(stack), TO_REST)
    verdict.orders = len(evidence.orders)
    verdict.findings = check_all(evidence, load.told)
    verdict.model = list(model_breaches(evidence, load.stories))
    verdict.model += [f"still parked: {each.what} ({each.number})" for each in evidence.parked]
    verdict.paths = paths_taken(
        evidence,
        swept=_in_logs(stack, "outbox swept"),
        replayed=await _replayed(beaten),
        duplicates=duplicates,
    )


async def _strike(beaten: Beaten, name: str, rng: random.Random, verdict: Verdict) -> None:
    began = time.monotonic()
    try:
        verdict.struck[name] = await FAULTS[name](beaten, rng)
    except NotStruck as why:
        verdict.missed[name] = str(why)
    except AssertionError as breach:
        verdict.broken.append(f"{name}: {breach}")
    said = verdict.struck.get(name) or verdict.missed.get(name) or verdict.broken[-1]
    print(f"  {time.monotonic() - began:5.1f} s  {name}: {said}", flush=True)


async def _everything_ends(beaten: Beaten) -> None:
    """Unpaid reservations run out, too: every order has its end, and the model can tell which."""

    async def all_decided() -> int:
        (row,) = await beaten.rows(
            "order", "SELECT count(*) FROM orders WHERE saga_state = 'awaiting_payment'"
        )
        return int(row["count"] == 0)

    system = system_of(beaten.stack)
    await come_to_rest(system, TO_REST)  # until then, orders that will wait may not wait yet
    with suppress(NotStruck):  # the model then says which order is left
        await beaten.until(all_decided, within=TO_REST, otherwise="", every=0.5)


async def _products(stack: LocalStack, client: httpx.AsyncClient) -> list[str]:
    """Two of which there is enough, and one that sells out."""
    staff = Shop(
        client, gateway=stack.gateway, stripe=stack.stripe, token=stack.token("staff", "admin")
    )
    return [
        await staff.add_product(name, price=PRICE, stock=stock)
        for name, stock in (("Print", 100_000), ("Poster", 100_000), ("Original", 40))
    ]


async def _duplicates(beaten: Beaten) -> float:
    total = 0.0
    for service in ("order", "inventory", "payment"):
        with suppress(httpx.HTTPError):
            total += await beaten.metric(service, "orderflow_messages_duplicate_total")
    return total


async def _replayed(beaten: Beaten) -> int:
    total = 0
    for service in beaten.stack.postgres:
        rows = await beaten.rows(
            service, "SELECT count(*) FROM parked_messages WHERE state = 'replayed'"
        )
        total += rows[0]["count"]
    return total


def _in_logs(stack: LocalStack, text: str) -> int:
    logs = stack.log("order").parent.glob("*.log")
    return sum(log.read_text(errors="replace").count(text) for log in logs)


def _silent(_line: str) -> None:
    """The stack's progress lines would drown the evidence."""
