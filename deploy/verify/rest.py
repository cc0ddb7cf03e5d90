"""Waiting until nothing is under way, and then looking."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.verify.databases import read_databases, under_way
from deploy.verify.evidence import Evidence, Waiting
from deploy.verify.stripe import read_stripe
from deploy.verify.topics import lag, read_topics


@dataclass(frozen=True, slots=True)
class System:
    """Where the parts of a running system are, as `.local/stack.json` says."""

    postgres: Mapping[str, str]
    """A DSN by service."""
    kafka: str
    stripe: str
    stripe_key: str


async def come_to_rest(system: System, seconds: float) -> list[Waiting]:
    """Return when nothing is under way, or after so many seconds: what still is."""
    deadline = time.monotonic() + seconds
    while waiting := await under_way(system.postgres) or await lag(system.kafka):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return waiting


async def gather(system: System, seconds: float) -> Evidence:
    """Wait until nothing is under way, `seconds` at most, and read everything once. Whoever uses
    the system meanwhile makes differences."""
    evidence = Evidence(waiting=await come_to_rest(system, seconds))
    await read_databases(system.postgres, evidence)
    await read_stripe(system.stripe, system.stripe_key, evidence)
    # Last: what was answered by then must be there.
    await read_topics(system.kafka, system.postgres["order"], evidence)
    return evidence
