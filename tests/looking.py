"""How tests look into a running system: its rows, and its promises once it has come to rest."""

from collections.abc import Collection
from typing import Any

import asyncpg

from deploy.local.stack import LocalStack
from deploy.verify.databases import fetch
from deploy.verify.invariants import check_all
from deploy.verify.rest import System, gather
from deploy.verify.told import Told

TO_REST = 60.0
"""Seconds after which nothing may be under way any more (I5)."""


async def rows(stack: LocalStack, service: str, query: str, *values: Any) -> list[asyncpg.Record]:
    """What one statement returns in a service's database."""
    return await fetch(stack.postgres[service], query, *values)


def system_of(stack: LocalStack) -> System:
    """Where the checker finds the parts of a local stack."""
    return System(stack.postgres, stack.kafka, stack.stripe, "sk_test_local")


async def assert_promises(stack: LocalStack, acknowledged: Collection[str] = ()) -> None:
    """I1 to I10, nothing parked, and that these orders exist, of which somebody was told."""
    evidence = await gather(system_of(stack), TO_REST)
    breaches = [
        f"{finding.invariant.number}: {breach}"
        for finding in check_all(evidence, Told())
        for breach in finding.breaches
    ]
    breaches += [f"parked: {waiting}" for waiting in evidence.parked]
    breaches += [
        f"I9: {order} does not exist" for order in set(acknowledged) - set(evidence.orders)
    ]
    assert not breaches, breaches[:10]
