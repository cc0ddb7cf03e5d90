"""Stock as topics tell it: each movement counts once, however and whenever its record comes."""

import asyncio
import random
from collections import Counter
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from contracts.audit import InventoryAudited
from contracts.inventory import MAX_STOCK
from services.kit.messages import Record
from services.kit.work import Work
from services.ops import counting
from services.ops.counting import count_stock
from services.ops.store.stock import report
from tests.ops.conftest import Watch
from tests.ops.stock import NOON, adjusted, audited, days, numbers, row, told

TODAY, TOMORROW = NOON.date(), NOON.date() + timedelta(days=1)


async def test_an_order_holds_stock_until_it_is_paid(watch: Watch) -> None:
    lily, order_id = uuid4(), uuid4()
    await watch.hears(adjusted(lily, 10), audited("reserved", order_id, {lily: 3}))
    await watch.counts()
    assert await numbers(watch, lily) == (3, 0, 7)
    await watch.hears(audited("committed", order_id, {lily: 3}, NOON + timedelta(days=1)))
    await watch.counts()
    assert await numbers(watch, lily) == (0, 3, 7)
    assert await days(watch, lily) == {
        (TODAY, "received"): 10,
        (TODAY, "reserved"): 3,
        (TOMORROW, "committed"): 3,
    }


async def test_stock_comes_back_from_who_held_it_and_from_who_bought_it(watch: Watch) -> None:
    lily, gave_up, sent_back = uuid4(), uuid4(), uuid4()
    for order_id in (gave_up, sent_back):
        await watch.hears(audited("reserved", order_id, {lily: 2}))
    await watch.hears(audited("committed", sent_back, {lily: 2}))
    await watch.counts()
    await watch.hears(*(audited("restored", each, {lily: 2}) for each in (gave_up, sent_back)))
    await watch.counts()
    assert await numbers(watch, lily) == (0, 0, 0)
    assert await days(watch, lily) == {
        (TODAY, "reserved"): 4,
        (TODAY, "committed"): 2,
        (TODAY, "restored"): 2,
        (TODAY, "returned"): 2,
    }


async def test_a_commit_that_comes_late_makes_a_return_of_what_looked_restored(
    watch: Watch,
) -> None:
    lily, order_id = uuid4(), uuid4()
    await watch.hears(audited("restored", order_id, {lily: 2}))
    await watch.counts()
    assert await watch.owner.fetchval("SELECT count(*) FROM stock") == 0  # of what, is not known
    await watch.hears(audited("reserved", order_id, {lily: 2}))
    await watch.counts()
    assert (TODAY, "restored") in await days(watch, lily)
    await watch.hears(audited("committed", order_id, {lily: 2}))
    await watch.counts()
    assert await numbers(watch, lily) == (0, 0, 0)
    assert await days(watch, lily) == {
        (TODAY, "reserved"): 2,
        (TODAY, "committed"): 2,
        (TODAY, "returned"): 2,
    }


async def test_a_record_that_comes_again_counts_once(watch: Watch) -> None:
    lily, order_id = uuid4(), uuid4()
    sent = [
        watch.record(each)
        for each in (adjusted(lily, 10), audited("reserved", order_id, {lily: 3}))
    ]
    await watch.hears(*sent)
    await watch.counts()
    await watch.hears(*sent)  # a commit of the offsets was lost
    again = [record._replace(offset=record.offset + 100) for record in sent]
    await watch.hears(again[0], *again)
    await watch.counts()
    await watch.counts()
    assert await numbers(watch, lily) == (3, 0, 7)


async def test_a_level_that_comes_late_is_not_taken(watch: Watch) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 3, 7), told(lily, 2, 9))
    await watch.hears(told(lily, 1, 10))
    found = await row(watch, lily)
    assert (found["version"], found["level"], found["unrecorded"]) == (3, 7, 7)
    # Nobody looks for a product in the timeline, and it changes with every order.
    assert await watch.owner.fetchval("SELECT count(*) FROM messages") == 0


async def test_two_replicas_count_each_record_once(watch: Watch) -> None:
    lily = uuid4()
    for counted in range(1, 4):  # the chains are known from the second time on
        for partition in range(3):
            records = [watch.record(adjusted(lily, 1), partition=partition) for _ in range(20)]
            await watch.hears(*records)
        await asyncio.gather(*(watch.counts() for _ in range(4)))
        assert await numbers(watch, lily) == (0, 0, 60 * counted)


async def test_what_was_recorded_before_there_was_a_count_is_counted(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 7)
    lily, order_id = uuid4(), uuid4()
    await watch.hears(audited("reserved", order_id, {lily: 1}), *(adjusted(lily, 1),) * 20)
    await watch.hears(audited("committed", order_id, {lily: 1}))
    seen = []
    for _ in range(5):
        await watch.counts()
        seen.append((await numbers(watch, lily))[2])
    assert seen == [5, 12, 19, 19, 19]  # seven records at a time, and then no more
    assert await numbers(watch, lily) == (0, 1, 19)


async def test_numbers_that_cannot_be_do_not_stop_the_counting(watch: Watch) -> None:
    lily = uuid4()
    await watch.hears(adjusted(lily, 10**30), adjusted(lily, MAX_STOCK + 1), adjusted(lily, 5))
    await watch.tamper("UPDATE audit_records SET payload = 'x' WHERE position = 2")
    await watch.counts()
    assert await numbers(watch, lily) == (0, 0, 5)


async def test_the_number_of_statements_does_not_depend_on_the_batch(watch: Watch) -> None:
    async with watch.pool.acquire() as db:

        async def statements(orders: int) -> int:
            seen: list[str] = []
            for number in range(orders):
                order_id, pieces = uuid4(), {uuid4(): 1, uuid4(): 2}
                sent = [audited(each, order_id, pieces) for each in ("reserved", "committed")]
                records = [watch.record(each, partition=number % 5) for each in sent]
                await watch.hears(*records)
            async with db.transaction():
                with db.query_logger(lambda record: seen.append(record.query)):
                    await count_stock(Work(db, "ops"))
                    await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn
            return len(seen)

        await statements(1)  # asyncpg asks for the types of arrays once
        assert await statements(1) == await statements(30) == 6


async def test_the_report_is_the_sum_of_the_movements(watch: Watch) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    products = [uuid4() for _ in range(4)]
    records: list[Record] = []
    held, sold, level = Counter[UUID](), Counter[UUID](), Counter[UUID]()

    def sends(message: InventoryAudited, partition: int) -> None:
        records.append(watch.record(message, partition=partition))

    for number in range(60):
        lily, delta = chance.choice(products), chance.randint(-5, 20)
        if delta:
            sends(adjusted(lily, delta), number % 3)
            level[lily] += delta
        order_id = uuid4()
        pieces = {each: chance.randint(1, 3) for each in chance.sample(products, 2)}
        actions = ["reserved", *chance.sample(["committed", "restored"], chance.randint(0, 2))]
        for action in actions:
            at = NOON + timedelta(days=chance.randrange(5))
            sends(audited(action, order_id, pieces, at), number % 3)
        for each, quantity in pieces.items():
            back = "restored" in actions
            held[each] += quantity if len(actions) == 1 else 0
            sold[each] += quantity if "committed" in actions and not back else 0
            level[each] -= 0 if back else quantity
    records += chance.sample(records, 40)
    chance.shuffle(records)
    while records:
        size = chance.randint(1, 40)
        batch, records = records[:size], records[size:]
        await watch.hears(*batch)
        if chance.random() < 0.7:
            await watch.counts()
    await watch.counts()
    await watch.hears(*(told(each, 1, level[each]) for each in products))
    for each in products:
        found = await row(watch, each)
        assert (found["held"], found["sold"]) == (held[each], sold[each])
        assert found["unrecorded"] == 0


# -- the report --------------------------------------------------------------------------------


async def listed(
    watch: Watch, *, low_only: bool = False, search: str | None = None, after: UUID | None = None
) -> list[UUID]:
    found = await report(
        watch.pool,
        low_at=5,
        low_only=low_only,
        search=search,
        product_id=None,
        after=after,
        since=date(2026, 11, 1),
        limit=2,
    )
    return [each["product_id"] for each in found]


async def test_what_is_low(watch: Watch) -> None:
    high, at_it, own, gone, unheard = sorted(uuid4() for _ in range(5))
    await watch.hears(
        told(high, 1, 6),
        told(at_it, 1, 5),
        told(own, 1, 30, low_stock_threshold=30),
        told(gone, 1, 0, removed=True),
        adjusted(unheard, 1),
    )
    await watch.counts()
    assert await listed(watch, low_only=True) == [at_it, own]
    assert [(await row(watch, each, low_at=5))["low"] for each in (high, own, unheard)] == [
        False,
        True,
        False,
    ]
    # A threshold of its own that is lower than everybody's counts, too.
    await watch.hears(told(at_it, 2, 5, low_stock_threshold=2))
    assert await listed(watch, low_only=True) == [own]


async def test_products_are_found_and_listed_page_by_page(watch: Watch) -> None:
    first, second, third = sorted(uuid4() for _ in range(3))
    await watch.hears(
        told(first, 1, 1, name="Oak frame, A3"),
        told(second, 1, 1, name="Karoo at dawn"),
        told(third, 1, 1, name="Oak frame, A4 50%"),
    )
    assert await listed(watch) == [first, second]
    assert await listed(watch, after=second) == [third]
    assert await listed(watch, search="oak FRAME") == [first, third]
    assert await listed(watch, search="50%") == [third]
    assert await listed(watch, search=str(second).upper()) == [second]
