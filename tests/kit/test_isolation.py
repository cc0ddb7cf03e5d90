"""Work on sets outside of the consumer: the culprit stands alone, and the rest is done."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg
import pytest
from prometheus_client import REGISTRY

from contracts.inventory import StockRestored
from services.kit.errors import Retry
from services.kit.isolation import REASON_LENGTH, isolate, reason_of
from services.kit.work import Work


@pytest.fixture
async def work(database: str) -> AsyncIterator[Work]:
    db = await asyncpg.connect(database)
    await db.execute("CREATE TABLE done (n int PRIMARY KEY CHECK (n <> 13))")
    transaction = db.transaction()
    await transaction.start()
    yield Work(db, "test")
    await transaction.rollback()
    await db.close()


class Handler:
    """Writes and sends, and fails for what the database refuses."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.attempts = 0

    async def __call__(self, items: Sequence[int]) -> None:
        self.attempts += 1
        for item in items:
            self.work.send(StockRestored(order_id=UUID(int=item)))
            self.work.after_commit(lambda: None)
            await self.work.db.execute("INSERT INTO done VALUES ($1)", item)


async def done(work: Work) -> set[int]:
    return {row["n"] for row in await work.db.fetch("SELECT n FROM done")}


async def test_a_set_without_a_culprit_is_one_attempt(work: Work) -> None:
    handler = Handler(work)
    assert await isolate(work, "test", range(12), handler) == []
    assert handler.attempts == 1
    assert await done(work) == set(range(12))
    assert len(work.outgoing) == 12


async def test_the_culprit_stands_alone_and_the_rest_is_done(work: Work) -> None:
    handler = Handler(work)
    (culprit,) = await isolate(work, "test", range(500), handler)
    assert (culprit.item, type(culprit.error)) == (13, asyncpg.CheckViolationError)
    assert await done(work) == set(range(500)) - {13}
    assert handler.attempts <= 20
    # What a failed attempt decided to send is rolled back with it.
    assert [UUID(sent.key).int for sent in work.outgoing] == [n for n in range(500) if n != 13]


async def test_culprits_are_counted_when_the_transaction_has_committed(work: Work) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("orderflow_isolated_total", {"task": "counted"}) or 0

    await isolate(work, "counted", [12, 13], Handler(work))
    assert count() == 0
    for call in work.callbacks:
        call()
    assert count() == 1


async def test_an_infrastructure_error_repeats_the_whole_transaction(work: Work) -> None:
    async def away(_items: Sequence[int]) -> None:
        raise Retry("the database is away")

    with pytest.raises(Retry):
        await isolate(work, "test", [1, 2], away)


async def test_nothing_to_do_costs_nothing(work: Work) -> None:
    handler = Handler(work)
    assert await isolate(work, "test", [], handler) == []
    assert handler.attempts == 0


def test_a_reason_is_one_short_line_that_can_be_stored() -> None:
    assert reason_of(ValueError("a\nb\0c")) == "ValueError: a b\ufffdc"
    assert len(reason_of(ValueError("x" * 10_000))) == REASON_LENGTH
