"""Replicas work through the same products at once: no deadlock, nothing oversold (P1, P2)."""

import asyncio
import random
from collections import Counter

import asyncpg

from contracts.inventory import ReserveStock, StockRejected, StockReserved
from contracts.message import Message
from tests.inventory.conftest import Shop, only, reserve, restore


async def test_replicas_neither_deadlock_nor_oversell(shop: Shop, inventory: str) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)
    products = [await shop.product(60) for _ in range(12)]
    reserved: Counter[str] = Counter()

    async def replica() -> None:
        mine: list[ReserveStock] = []
        desk = Shop(await asyncpg.connect(inventory))
        try:
            for _ in range(25):
                commands = [
                    reserve({p: chance.randint(1, 3) for p in chance.sample(products, 3)})
                    for _ in range(chance.randint(1, 20))
                ]
                undone = [mine.pop(chance.randrange(len(mine))) for _ in range(len(mine) // 3)]
                batch: list[Message] = [*commands, *(restore(one.order_id) for one in undone)]
                chance.shuffle(batch)
                sent = await desk.hear(*batch)
                won = {answer.order_id for answer in only(StockReserved, sent)}
                mine += [command for command in commands if command.order_id in won]
                reserved.update(won=len(won), undone=len(undone), lost=len(commands) - len(won))
        finally:
            await desk.db.close()

    async with asyncio.timeout(60):
        # More than two: they wake up together when one commits, and go for the same rows.
        await asyncio.gather(*(replica() for _ in range(4)))
    await shop.assert_books_add_up()
    assert min([await shop.stock(product) for product in products]) >= 0
    assert all(reserved[outcome] for outcome in ("won", "undone", "lost")), reserved


async def test_one_of_many_gets_the_last_item(shop: Shop, inventory: str) -> None:
    lily = await shop.product(1)
    desks = [Shop(await asyncpg.connect(inventory)) for _ in range(8)]
    try:
        answers = await asyncio.gather(*(desk.hear(reserve({lily: 1})) for desk in desks))
    finally:
        for desk in desks:
            await desk.db.close()
    sent = [message for answer in answers for message in answer]
    assert len(only(StockReserved, sent)) == 1
    codes = [problem.code for loser in only(StockRejected, sent) for problem in loser.problems]
    assert codes == ["out_of_stock"] * 7
    await shop.assert_books_add_up()


async def test_a_script_and_the_service_share_the_row_lock(shop: Shop, inventory: str) -> None:
    lily = await shop.product(1)
    script = await asyncpg.connect(inventory)
    try:
        async with script.transaction():
            await script.fetchval("SELECT reserve_product_stock($1, 1)", lily)
            order = asyncio.create_task(shop.hear(reserve({lily: 1})))
            await asyncio.sleep(0.1)
            assert not order.done()
        assert only(StockRejected, await order)
    finally:
        await script.close()
