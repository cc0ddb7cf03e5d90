"""What every trial of the system has around it: a fresh stack, customers, rest, and a judgement."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from deploy.local.home import PROJECT
from deploy.local.shop import Shop, Site
from deploy.local.stack import LocalStack
from deploy.verify.databases import fetch
from deploy.verify.evidence import Evidence
from deploy.verify.invariants import Finding, check_all
from deploy.verify.rest import System, come_to_rest, gather
from deploy.verify.told import Told
from tests.faults.asking import browsers
from tests.faults.driver import PRICE, Load
from tests.faults.nemesis import Beaten
from tests.faults.network import Network
from tests.faults.verdict import model_breaches
from tests.looking import TO_REST

HOME = PROJECT / ".local" / "faults"
# Impatient, so that what a fault interrupts goes on within seconds.
IMPATIENT = {
    "STEP_TIMEOUT_SECONDS": "2",
    "OUTBOX_LEASE_SECONDS": "1",
    "SESSION_TIMEOUT_SECONDS": "6",
    "RECONCILE_SECONDS": "2",
    "STANDIN_SEARCH_DELAY": "3",
    "STRIPE_SEARCH_DELAY_SECONDS": "5",
    "RESERVATION_SECONDS": "10",
}
WARM_UP = 2.0
STILL_PARKED = "still parked"


@dataclass
class Judgement:
    broken: list[str] = field(default_factory=list)
    """What was seen of the system meanwhile that it must not do."""
    findings: list[Finding] = field(default_factory=list)
    model: list[str] = field(default_factory=list)
    orders: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each part took."""

    @property
    def wrong(self) -> list[str]:
        """All breaches of promises; empty when none was found."""
        found = [*self.broken, *(f"model: {each}" for each in self.model)]
        for finding in self.findings:
            found += [f"{finding.invariant.number}: {each}" for each in finding.breaches]
        return found


@asynccontextmanager
async def fresh(stack: LocalStack) -> AsyncIterator[Beaten]:
    """An empty stack with a proxy on every link, for the caller to start; all is stopped at the
    end."""
    with stack.home.lock():
        await asyncio.to_thread(stack.clean)
        network = Network(stack)
        await asyncio.to_thread(network.start)
        try:
            # A connection per question: one that was kept may be closed by a service just now.
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(trust_env=False, timeout=30, limits=limits) as client:
                yield Beaten(stack, network, client)
        finally:
            await asyncio.to_thread(stack.down)
            network.stop()


async def judge(
    site: Site,
    parts: System,
    client: httpx.AsyncClient,
    judgement: Judgement,
    trial: Callable[[], Awaitable[None]],
    *,
    rate: float,
    seed: int,
    patience: float = TO_REST,
) -> Evidence:
    """Offer so many orders a second until the trial is over, let everything come to its end, and
    compare databases, topics, Stripe and the model. `patience`: seconds until everything must have
    come to rest (I5), and until a customer who gets no answer gives up."""
    began = time.monotonic()
    async with (
        browsers(patience) as ask,
        offering(Load(site, ask, seed, Told(supply=await products(site, client))), rate) as load,
    ):
        await asyncio.sleep(WARM_UP)
        await trial()
    judgement.seconds["trial"] = time.monotonic() - began
    began = time.monotonic()
    await everything_ends(parts, patience)
    judgement.seconds["rest"] = time.monotonic() - began
    return await compare(parts, load, judgement, patience)


@asynccontextmanager
async def offering(load: Load, rate: float) -> AsyncIterator[Load]:
    """So many orders a second until the block ends; then until each was answered or given up."""
    stop = asyncio.Event()
    coming = asyncio.create_task(load.offer(rate, stop))
    try:
        yield load
    finally:
        stop.set()
        await coming


async def compare(parts: System, load: Load, judgement: Judgement, patience: float) -> Evidence:
    """Databases, topics and Stripe with each other, and with what the customers were told."""
    evidence = await gather(parts, patience)
    judgement.orders = len(evidence.orders)
    judgement.findings = check_all(evidence, load.told)
    judgement.model = [*load.given_up, *model_breaches(evidence, load.stories)]
    judgement.model += [f"{STILL_PARKED}: {each.what} ({each.number})" for each in evidence.parked]
    return evidence


async def everything_ends(parts: System, patience: float) -> None:
    """Unpaid reservations run out, too: every order has its end, and the model can tell which."""
    await come_to_rest(parts, patience)  # until then, orders that will wait may not wait yet
    unpaid = "SELECT FROM orders WHERE saga_state = 'awaiting_payment'"
    deadline = time.monotonic() + patience
    while await fetch(parts.postgres["order"], unpaid):
        if time.monotonic() > deadline:
            return  # the model says which order is left
        await asyncio.sleep(0.5)


async def products(site: Site, client: httpx.AsyncClient) -> dict[str, int]:
    """Two of which there is enough, and one that sells out; with how many there are."""
    staff = Shop(
        client, gateway=site.gateway, stripe=site.stripe, token=site.token("staff", "admin")
    )
    return {
        await staff.add_product(name, price=PRICE, stock=stock): stock
        for name, stock in (("Print", 100_000), ("Poster", 100_000), ("Original", 40))
    }


def silent(_line: str) -> None:
    """For a stack whose progress lines would drown the evidence."""
