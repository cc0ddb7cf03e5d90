"""What the database itself holds, against everybody: constraints, ledger, SQL functions."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest

from contracts.inventory import RemoveProduct, StockRejected
from tests.inventory.conftest import Shop, only, put, reserve, restore


async def call(shop: Shop, function: str, product_id: UUID | None, quantity: int | None) -> Any:
    text = await shop.db.fetchval(f"SELECT {function}($1, $2)", product_id, quantity)
    return orjson.loads(text)


async def test_plain_sql_cannot_make_stock_negative(shop: Shop) -> None:
    lily = await shop.product(1)
    await shop.hear(reserve({lily: 1}))
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await shop.db.execute("UPDATE products SET stock_quantity = -1 WHERE id = $1", lily)
    assert refused.value.constraint_name == "stock_quantity_non_negative"
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await shop.db.execute(
            """
            INSERT INTO products (id, name, price, currency, stock_quantity)
            VALUES ($1, 'Lily', 1, 'zar', -1)
            """,
            uuid4(),
        )
    assert refused.value.constraint_name == "stock_quantity_non_negative"


async def test_the_functions_take_out_and_put_back(shop: Shop) -> None:
    lily = await shop.product(5)
    taken = await call(shop, "reserve_product_stock", lily, 3)
    assert taken == {
        "success": True,
        "product_id": str(lily),
        "name": "Print",
        "quantity": 3,
        "stock_quantity": 2,
    }
    refused = await call(shop, "reserve_product_stock", lily, 3)
    assert refused["success"] is False
    assert refused["error"] == "Insufficient stock for Print. Available: 2, Requested: 3"
    assert (await call(shop, "restore_product_stock", lily, 3))["stock_quantity"] == 5
    moved = await shop.db.fetch(
        "SELECT action, quantity FROM stock_movements WHERE product_id = $1 ORDER BY id", lily
    )
    assert [tuple(row) for row in moved] == [("adjusted", 5), ("reserved", -3), ("restored", 3)]
    await shop.assert_books_add_up()


async def test_the_functions_sell_only_what_is_on_sale(shop: Shop) -> None:
    lily = await shop.product(5)
    await shop.hear(put(lily, available=False))
    refused = await call(shop, "reserve_product_stock", lily, 1)
    assert refused["error"] == "Print is no longer available"
    await shop.hear(RemoveProduct(product_id=lily, requested_by="thandi"))
    refused = await call(shop, "reserve_product_stock", lily, 1)
    assert refused["error"] == "Product no longer available"
    assert (await call(shop, "restore_product_stock", lily, 1))["stock_quantity"] == 6


@pytest.mark.parametrize("function", ["reserve_product_stock", "restore_product_stock"])
async def test_the_functions_say_what_is_wrong_with_a_call(shop: Shop, function: str) -> None:
    lily = await shop.product(5)
    for quantity in (0, -1, None):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="positive number") as error:
            await call(shop, function, lily, quantity)
        assert error.value.hint
    for unknown in (uuid4(), None):
        with pytest.raises(asyncpg.NoDataFoundError, match="there is no product"):
            await call(shop, function, unknown, 1)
    assert await shop.stock(lily) == 5


async def test_stock_changed_by_plain_sql_is_booked(shop: Shop) -> None:
    lily = await shop.product(5)
    await shop.hear(reserve({lily: 5}))
    await shop.db.execute("UPDATE products SET stock_quantity = 8 WHERE id = $1", lily)
    movement = await shop.db.fetchrow(
        "SELECT * FROM stock_movements WHERE product_id = $1 ORDER BY id DESC LIMIT 1", lily
    )
    assert movement is not None
    assert (movement["action"], movement["quantity"]) == ("corrected", 8)
    assert movement["changed_by"] == await shop.db.fetchval("SELECT session_user")
    await shop.assert_books_add_up()

    await shop.db.execute("UPDATE products SET stock_quantity = 0 WHERE id = $1", lily)
    [answer] = only(StockRejected, await shop.hear(reserve({lily: 1})))
    assert answer.problems[0].code == "insufficient_stock"
    await shop.db.execute("UPDATE products SET movements_total = 70 WHERE id = $1", lily)
    await shop.assert_books_add_up()


async def test_a_product_may_open_with_stock(shop: Shop) -> None:
    lily = uuid4()
    await shop.db.execute(
        """
        INSERT INTO products (id, name, price, currency, stock_quantity)
        VALUES ($1, 'Lily', 100, 'zar', 20)
        """,
        lily,
    )
    await shop.hear(reserve({lily: 4}))
    row = await shop.row(lily)
    assert (row["opening_stock"], row["stock_quantity"]) == (20, 16)
    await shop.assert_books_add_up()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stock_movements SET quantity = 1",
        "DELETE FROM stock_movements",
        "TRUNCATE stock_movements",
    ],
)
async def test_the_ledger_is_append_only(shop: Shop, statement: str) -> None:
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await shop.db.execute(statement)


async def test_products_and_reservations_are_not_deleted(shop: Shop) -> None:
    lily = await shop.product(5)
    await shop.hear(reserve({lily: 1}))
    for table in ("products", "reservations", "reservation_orders"):
        with pytest.raises(asyncpg.RaiseError, match="not deleted"):
            await shop.db.execute(f"DELETE FROM {table}")


@pytest.mark.parametrize("state", ["held", "committed", "restored"])
async def test_a_restored_reservation_stays_restored(shop: Shop, state: str) -> None:
    command = reserve({await shop.product(5): 1})
    await shop.hear(command)
    await shop.hear(restore(command.order_id))
    with pytest.raises(asyncpg.CheckViolationError, match="cannot go from restored"):
        await shop.db.execute(
            "UPDATE reservations SET state = $2 WHERE order_id = $1", command.order_id, state
        )
    with pytest.raises(asyncpg.CheckViolationError, match="cannot go from restored"):
        await shop.db.execute(
            "UPDATE reservation_orders SET state = 'reserved' WHERE order_id = $1",
            command.order_id,
        )


async def test_stock_moves_once_per_order_and_way(shop: Shop) -> None:
    lily = await shop.product(5)
    command = reserve({lily: 1})
    await shop.hear(command)
    with pytest.raises(asyncpg.UniqueViolationError, match="one_movement_per_order_and_way"):
        await shop.db.execute(
            """
            INSERT INTO stock_movements (product_id, order_id, action, quantity, reason, changed_by)
            VALUES ($1, $2, 'reserved', -1, 'again', 'test')
            """,
            lily,
            command.order_id,
        )
