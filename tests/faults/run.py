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

from deploy.local.stack import LocalStack
from tests.faults.nemesis import FAULTS, SERVICES, Beaten, NotStruck
from tests.faults.trial import HOME, IMPATIENT, Judgement, fresh, judge, silent
from tests.faults.verdict import paths_taken
from tests.looking import TO_REST, system_of

ALWAYS = ("crash-point", "duplicates", "handler-raises")
"""Without these, a run would not take all of the interesting paths."""


@dataclass(kw_only=True)
class Verdict(Judgement):
    seed: int
    struck: dict[str, str] = field(default_factory=dict)
    """Evidence by fault."""
    missed: dict[str, str] = field(default_factory=dict)
    """Why a fault could not be made, or could not prove that it struck."""
    paths: dict[str, int] = field(default_factory=dict)

    @property
    def breaches(self) -> list[str]:
        """Why the run fails; empty when it passes."""
        found = self.wrong
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
    seed: int,
    schedule: Sequence[str],
    *,
    rate: float,
    brokers: int = 1,
    home: Path = HOME,
    patience: float = TO_REST,
) -> Verdict:
    """Beat a fresh system and judge it. `patience`: as in `judge`."""
    stack = LocalStack(
        home, environment=IMPATIENT, only=SERVICES, linked=True, brokers=brokers, say=silent
    )
    verdict = Verdict(seed=seed)
    async with fresh(stack) as beaten:
        began = time.monotonic()
        await asyncio.to_thread(stack.up)
        verdict.seconds["start"] = time.monotonic() - began
        await _beat(beaten, schedule, rate, patience, verdict)
    return verdict


async def _beat(
    beaten: Beaten, schedule: Sequence[str], rate: float, patience: float, verdict: Verdict
) -> None:
    duplicates = 0.0

    async def strike_all() -> None:
        nonlocal duplicates
        for number, name in enumerate(schedule):
            await _strike(beaten, name, random.Random(f"{verdict.seed}:{number}"), verdict)
            duplicates = max(duplicates, await _duplicates(beaten))

    parts = system_of(beaten.stack)
    evidence = await judge(
        beaten.stack,
        parts,
        beaten.client,
        verdict,
        strike_all,
        rate=rate,
        seed=verdict.seed,
        patience=patience,
    )
    verdict.paths = paths_taken(
        evidence,
        swept=_in_logs(beaten.stack, "outbox swept"),
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
