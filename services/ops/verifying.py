"""Proves the audit: no record altered or missing, each history whole, its end as published."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from services.kit.db import Pool
from services.ops.chain import Broken, Check, Head
from services.ops.store import audit, orders

PAGE: Final = 2000
PAGE_OF_SUBJECTS: Final = 20_000
"""Records, or orders, whose histories are compared in one statement."""
MENTIONED: Final = 100
"""Findings of one kind that are told; there may be more."""


@dataclass(slots=True)
class Verdict:
    """What was looked at, and what is wrong with it."""

    records: int = 0
    chains: dict[str, str] = field(default_factory=dict)
    """The end of each chain, `topic/partition`: its length and hash. Whoever keeps them elsewhere
    can tell later that nothing before them was changed, not even by the owner of the database."""
    broken: list[Broken] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        return not (self.broken or self.gaps or self.differences)


async def verify(pool: Pool, settled_before: datetime) -> Verdict:
    """Read everything. Orders that changed after `settled_before` are not compared with what was
    published: the audit of their last change may still be on its way."""
    verdict = Verdict()
    # What is appended meanwhile is not looked at.
    for chain, head in (await audit.find_heads(pool)).items():
        await _follow(pool, chain, head, verdict)
        topic, partition = chain
        verdict.chains[f"{topic}/{partition}"] = f"{head.length} {head.hash.hex()}"
    await _find_gaps(pool, verdict)
    await _find_differences(pool, settled_before, verdict)
    return verdict


# In pages: one statement over everything would meet its time-out once there is enough of it.


async def _find_gaps(pool: Pool, verdict: Verdict) -> None:
    after = ""
    while upto := await audit.end_of_page(pool, after, PAGE_OF_SUBJECTS):
        for row in await audit.find_gaps(pool, after, upto, MENTIONED - len(verdict.gaps)):
            verdict.gaps.append(
                f"{row['topic']} of {row['subject']}: version {row['version']} does not follow "
                f"{row['version_before'] or 'the beginning'}"
            )
        after = upto


async def _find_differences(pool: Pool, settled_before: datetime, verdict: Verdict) -> None:
    after = UUID(int=0)
    while upto := await orders.end_of_page(pool, after, PAGE_OF_SUBJECTS):
        for row in await orders.find_differences(
            pool, after, upto, settled_before, MENTIONED - len(verdict.differences)
        ):
            verdict.differences.append(
                f"order {row['order_id']} is {row['status']} in version {row['version']}, its "
                f"audit ends with {row['audited_status'] or 'nothing'} in version "
                f"{row['audited'] or 0}"
            )
        after = upto


async def _follow(pool: Pool, chain: audit.Place, head: Head, verdict: Verdict) -> None:
    check, reached = Check(*chain), 0
    while links := await audit.read_chain(pool, chain, reached, head.length, PAGE):
        verdict.broken += list(check.follow(links))[: MENTIONED - len(verdict.broken)]
        verdict.records += len(links)
        reached = links[-1].entry.position
    verdict.broken += check.end(head)
