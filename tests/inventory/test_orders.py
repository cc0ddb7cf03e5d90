"""Reserve, commit, restore: each order once, and the same answer each time."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from contracts.audit import InventoryAudited, StockMove
from contracts.inventory import CommitStock, StockRejected, StockReserved, StockRestored
from services.kit.db import Connection
from tests.inventory.conftest import Shop, adjust, only, reserve, restore

P2 = "Product out of stock. Another customer may have purchased it. Please try again."


async def test_an_order_gets_all_of_its_lines_at_the_products_prices(shop: Shop) -> None:
    lily, frame = await shop.product(5), await shop.product(9, name="Frame", price=50_000)
    command = reserve({lily: 2, frame: 3})
    [answer] = only(StockReserved, await shop.hear(command))
    assert [(item.name, item.quantity, item.price) for item in answer.items] == [
        ("Print", 2, 12_000),
        ("Frame", 3, 50_000),
    ]
    assert (answer.order_id, answer.total, answer.currency) == (command.order_id, 174_000, "zar")
    assert (await shop.stock(lily), await shop.stock(frame)) == (3, 6)
    assert await shop.states(command.order_id) == ["held", "held"]
    await shop.assert_books_add_up()


async def test_one_line_that_cannot_be_had_refuses_the_order_and_changes_nothing(
    shop: Shop,
) -> None:
    lily, frame = await shop.product(5), await shop.product(2, name="Frame")
    before = await shop.row(lily)
    command = reserve({lily: 2, frame: 3})
    sent = await shop.hear(command)
    [answer] = only(StockRejected, sent)
    assert [problem.message for problem in answer.problems] == [
        "Insufficient stock for Frame. Available: 2, Requested: 3"
    ]
    assert await shop.row(lily) == before
    assert await shop.states(command.order_id) == []
    [audit] = only(InventoryAudited, sent)
    assert (audit.action, audit.moves) == ("rejected", ())


async def test_the_loser_of_the_last_item_is_told_so(shop: Shop) -> None:
    in_one_batch, one_by_one = await shop.product(1), await shop.product(1)
    sent = await shop.hear(reserve({in_one_batch: 1}), reserve({in_one_batch: 1}))
    assert len(only(StockReserved, sent)) == 1
    assert [p.message for p in only(StockRejected, sent)[0].problems] == [P2]

    assert only(StockReserved, await shop.hear(reserve({one_by_one: 1})))
    [loser] = only(StockRejected, await shop.hear(reserve({one_by_one: 1})))
    assert [(p.code, p.message) for p in loser.problems] == [("out_of_stock", P2)]


async def test_stock_that_staff_took_out_was_nobodys_race(shop: Shop) -> None:
    lily = await shop.product(3)
    await shop.hear(adjust(lily, -3))
    [answer] = only(StockRejected, await shop.hear(reserve({lily: 1})))
    assert answer.problems[0].message == "Insufficient stock for Print. Available: 0, Requested: 1"


@pytest.mark.parametrize("quantity", [2, 99])
async def test_a_command_that_comes_again_gets_the_same_answer(shop: Shop, quantity: int) -> None:
    lily, frame = await shop.product(5), await shop.product(5, name="Frame")
    command = reserve({lily: quantity, frame: 1})
    first = await shop.hear(command)
    stock = await shop.stock(lily)
    await shop.hear(adjust(lily, 200))
    again = await shop.hear(command)
    assert again == [only(type(again[0]), first)[0]]
    assert await shop.stock(lily) == stock + 200
    await shop.assert_books_add_up()


async def test_stock_comes_back_once_however_often_it_is_asked(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 2})
    await shop.hear(command)
    for _ in range(3):
        [answer] = only(StockRestored, await shop.hear(restore(command.order_id)))
        assert answer.order_id == command.order_id
        assert await shop.stock(lily) == 5
    assert await shop.states(command.order_id) == ["restored"]
    await shop.assert_books_add_up()


async def test_what_was_sold_comes_back_too(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 2})
    await shop.hear(command)
    sent = await shop.hear(CommitStock(order_id=command.order_id))
    assert [audit.action for audit in only(InventoryAudited, sent)] == ["committed"]
    assert await shop.states(command.order_id) == ["committed"]
    assert await shop.hear(CommitStock(order_id=command.order_id)) == []

    sent = await shop.hear(restore(command.order_id, "refunded"))
    [audit] = only(InventoryAudited, sent)
    assert audit.moves == (StockMove(product_id=lily, quantity=2),)
    assert (audit.action, audit.reason, audit.changed_by) == (
        "restored",
        "refunded",
        "order-service",
    )
    assert await shop.stock(lily) == 5

    assert await shop.hear(CommitStock(order_id=command.order_id)) == []
    assert await shop.states(command.order_id) == ["restored"]
    assert shop.parked == []


async def test_a_reservation_that_comes_after_its_undo_is_refused(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 2})
    assert only(StockRestored, await shop.hear(restore(command.order_id)))
    for _ in range(2):
        [answer] = only(StockRejected, await shop.hear(command))
        assert [problem.code for problem in answer.problems] == ["cancelled"]
    assert only(StockRestored, await shop.hear(restore(command.order_id)))
    assert await shop.stock(lily) == 5


async def test_a_reservation_asked_again_after_its_undo_is_refused(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 2})
    await shop.hear(command)
    await shop.hear(restore(command.order_id))
    assert only(StockRejected, await shop.hear(command))
    assert await shop.stock(lily) == 5


async def test_the_undo_of_a_refused_order_restores_nothing(shop: Shop) -> None:
    lily = await shop.product(1)
    command = reserve({lily: 2})
    refused = only(StockRejected, await shop.hear(command))
    assert only(StockRestored, await shop.hear(restore(command.order_id)))
    assert only(StockRejected, await shop.hear(command)) == refused
    assert await shop.stock(lily) == 1


async def test_a_commitment_of_what_was_never_reserved_is_for_a_person(shop: Shop) -> None:
    assert await shop.hear(CommitStock(order_id=uuid4())) == []
    assert shop.parked == ["the order holds no stock: it is not known here"]


async def test_lines_of_the_same_product_are_added_up(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 2})
    command = command.model_copy(update={"lines": command.lines * 2})
    [answer] = only(StockReserved, await shop.hear(command))
    assert [item.quantity for item in answer.items] == [4]
    assert await shop.stock(lily) == 1


async def test_a_thousand_orders_for_one_product_are_one_row_update(shop: Shop) -> None:
    lily = await shop.product(1_501)
    await shop.hear(reserve({lily: 1}))  # a driver's first statements ask for types too
    await shop.db.execute("SELECT pg_stat_force_next_flush()")
    before = await _updates(shop)
    sent = await shop.hear(*(reserve({lily: 1}) for _ in range(1_000)))
    assert len(only(StockReserved, sent)) == 1_000
    assert len(shop.statements) == 4
    await shop.db.execute("SELECT pg_stat_force_next_flush()")
    assert await _updates(shop) - before == 1
    assert await shop.stock(lily) == 500


async def _updates(shop: Shop) -> int:
    """Rows of `products` updated so far, by anybody."""
    count: int = await shop.db.fetchval(
        "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'products'"
    )
    return count


async def test_the_number_of_statements_does_not_depend_on_the_number_of_orders(
    shop: Shop,
) -> None:
    products = [await shop.product(1_000) for _ in range(5)]
    counts = []
    for size in (1, 50):
        held = [reserve(dict.fromkeys(products, 1)) for _ in range(size)]
        await shop.hear(*held)
        await shop.hear(
            *(reserve(dict.fromkeys(products, 1)) for _ in range(size)),
            *(restore(command.order_id) for command in held[: size // 2 + 1]),
            *(restore(uuid4()) for _ in range(size)),
        )
        counts.append(len(shop.statements))
        await shop.hear(*(CommitStock(order_id=command.order_id) for command in held))
        assert len(shop.statements) == 1
    assert counts == [5, 5]
    await shop.assert_books_add_up()


async def somebody_waits(db: Connection) -> None:
    """Return once another session of this database waits for a lock."""
    waiting = """
        SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'
    """
    async with asyncio.timeout(20):
        while True:
            if await db.fetchval(waiting):
                return
            await asyncio.sleep(0.05)


async def test_two_replicas_that_answer_one_order_do_not_both_do_it(
    shop: Shop, inventory: str
) -> None:
    """The slower one fails, and finds the answer when the kit tries its message again."""
    lily = await shop.product(5)
    command = reserve({lily: 2})
    other = Shop(await asyncpg.connect(inventory))
    try:
        async with shop.db.transaction():
            await shop.db.execute(
                """
                INSERT INTO reservation_orders (order_id, state, created_at, updated_at)
                VALUES ($1, 'restored', now(), now())
                """,
                command.order_id,
            )
            slow = asyncio.create_task(other.hear(command))
            await somebody_waits(shop.db)  # it has found no answer, and stands at its insert
        with pytest.raises(asyncpg.UniqueViolationError):
            await slow
        assert only(StockRejected, await other.hear(command))
    finally:
        await other.db.close()
    assert await shop.stock(lily) == 5
