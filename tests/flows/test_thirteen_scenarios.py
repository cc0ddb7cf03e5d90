"""T1 to T13 of the requirements, each through HTTP on the running system."""

import asyncio
import random

import asyncpg
import pytest

from deploy.local.shop import Json, Placed, Shop
from deploy.local.stack import LocalStack
from tests.flows.conftest import becomes, ordered, stock, stock_becomes

RACE_LOST = "Product out of stock. Another customer may have purchased it. Please try again."


async def test_t01_ordering_five_takes_five_off_the_stock(staff: Shop, anna: Shop) -> None:
    product = await staff.add_product("Print", price=12000, stock=20)
    order = await ordered(anna, product, 5)
    assert (order["status"], order["total"]) == ("pending", 60000)
    assert await stock(anna, product) == 15


async def test_t02_ordering_more_than_there_is_is_refused_and_changes_nothing(
    staff: Shop, anna: Shop
) -> None:
    product = await staff.add_product("Print", price=12000, stock=3)
    placed = await anna.place(product, 5)
    assert placed.messages == ("Insufficient stock for Print. Available: 3, Requested: 5",)
    assert await stock(anna, product) == 3


async def test_t03_two_customers_order_the_last_item_and_exactly_one_gets_it(
    stack: LocalStack, staff: Shop
) -> None:
    product = await staff.add_product("The last print", price=12000, stock=1)
    two = [staff.as_(stack.token(name)) for name in ("bo", "cy")]
    results = await asyncio.gather(*(shop.place(product, 1) for shop in two))
    assert [r.order is not None for r in results].count(True) == 1
    assert [r.messages for r in results if r.order is None] == [(RACE_LOST,)]
    assert await stock(staff, product) == 0


async def test_t04_a_payment_confirms_the_order_by_itself(staff: Shop, anna: Shop) -> None:
    order = await ordered(anna, await staff.add_product("Print", price=12000, stock=5))
    assert await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_t05_a_failed_payment_cancels_the_order_and_gives_the_stock_back(
    staff: Shop, anna: Shop
) -> None:
    product = await staff.add_product("Print", price=12000, stock=5)
    order = await ordered(anna, product, 2)
    assert not await anna.pay(order, "pm_card_chargeDeclined")
    await becomes(anna, order, status="cancelled", payment_status="failed")
    seen = await staff.order(order["order_id"])
    assert seen["admin_notes"] == "Payment failed: Your card was declined."
    await stock_becomes(anna, product, 5)


@pytest.mark.parametrize("paid", [False, True])
async def test_t06_an_administrator_cancels_and_the_stock_is_back(
    staff: Shop, anna: Shop, paid: bool
) -> None:
    product = await staff.add_product("Print", price=12000, stock=5)
    order = await ordered(anna, product, 2)
    if paid:
        await anna.pay(order, "pm_card_visa")
        await becomes(anna, order, status="confirmed")
    await staff.cancel_as_staff(order["order_id"], "damaged")
    await becomes(anna, order, status="cancelled", payment_status="refunded" if paid else "unpaid")
    await stock_becomes(anna, product, 5)


async def check_cart(shop: Shop, product: str, price: int) -> Json:
    body = {"items": [{"product_id": product, "quantity": 1, "price": price}]}
    return await shop._call("POST", "/v1/carts/validation", body)


async def test_t07_the_cart_check_tells_of_a_deleted_product(staff: Shop, anna: Shop) -> None:
    product = await staff.add_product("Print", price=12000, stock=5)
    await staff._call("DELETE", f"/v1/admin/products/{product}")
    answer = await check_cart(anna, product, 12000)
    assert not answer["valid"]
    assert answer["errors"][0]["message"] == "Product no longer available"


async def test_t08_the_cart_check_tells_of_a_price_that_changed(staff: Shop, anna: Shop) -> None:
    product = await staff.add_product("Print", price=15000, stock=5)
    answer = await check_cart(anna, product, 12000)
    assert [error["message"] for error in answer["errors"]] == [
        "Price for Print has changed. Was R120.00, now R150.00"
    ]
    assert (await check_cart(anna, product, 15000))["valid"]


async def test_t09_plain_sql_cannot_make_the_stock_negative(stack: LocalStack, staff: Shop) -> None:
    product = await staff.add_product("Print", price=12000, stock=5)
    db = await asyncpg.connect(stack.postgres["inventory"])
    with pytest.raises(asyncpg.CheckViolationError, match="stock_quantity_non_negative"):
        await db.execute("UPDATE products SET stock_quantity = -1 WHERE id = $1", product)
    await db.close()


async def test_t10_the_audit_trail_has_who_when_from_to_and_why(
    stack: LocalStack, staff: Shop, anna: Shop
) -> None:
    order = await ordered(anna, await staff.add_product("Print", price=12000, stock=5))
    await staff.cancel_as_staff(order["order_id"], "a wrong address")
    seen = await becomes(anna, order, status="cancelled")
    last = seen["history"][-1]
    assert (last["old_status"], last["new_status"]) == ("pending", "cancelled")
    assert last["changed_by"].startswith("staff-")
    assert last["reason"] == "a wrong address"
    db = await asyncpg.connect(stack.postgres["order"])
    rows = await db.fetch(
        "SELECT * FROM order_status_history WHERE order_id = $1 ORDER BY id", order["order_id"]
    )
    await db.close()
    assert [row["new_status"] for row in rows] == ["pending", "cancelled"]
    assert (rows[-1]["changed_by"], rows[-1]["reason"]) == (last["changed_by"], last["reason"])


async def test_t11_of_ten_orders_at_once_none_is_lost_and_none_oversold(
    stack: LocalStack, staff: Shop
) -> None:
    product = await staff.add_product("Print", price=12000, stock=7)
    shops = [staff.as_(stack.token(f"eleven-{number}")) for number in range(10)]
    results = await asyncio.gather(*(shop.place(product, 1) for shop in shops))
    assert [r.order is not None for r in results].count(True) == 7
    await stock_becomes(staff, product, 0)


async def test_t12_a_hundred_orders_are_all_decided_within_a_minute(
    stack: LocalStack, staff: Shop
) -> None:
    product = await staff.add_product("Print", price=12000, stock=80)
    shops = [staff.as_(stack.token(f"twelve-{number}")) for number in range(100)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(shop.place(product, 1) for shop in shops))
    assert [r.order is not None for r in results].count(True) == 80
    await stock_becomes(staff, product, 0)


async def test_t13_rapid_orders_with_cancellations_mixed_in_leave_a_stock_that_adds_up(
    stack: LocalStack, staff: Shop
) -> None:
    rng = random.Random(13)
    product = await staff.add_product("Print", price=12000, stock=60)

    async def customer(number: int) -> int:
        """What this customer keeps in the end."""
        shop = staff.as_(stack.token(f"thirteen-{number}"))
        placed: Placed = await shop.place(product, quantity := rng.randint(1, 3))
        if placed.order is None:
            return 0
        order, what = placed.order, rng.choice(["pay", "cancel", "pay and cancel", "staff"])
        if what.startswith("pay"):
            await shop.pay(order, "pm_card_visa")
            await becomes(shop, order, status="confirmed")
        if what.endswith("cancel"):
            await shop.cancel(order["order_id"], "changed my mind")
        if what == "staff":
            await staff.cancel_as_staff(order["order_id"], "a test")
        if what == "pay":
            return quantity
        await becomes(shop, order, status="cancelled")
        return 0

    kept = sum(await asyncio.gather(*(customer(number) for number in range(40))))
    await stock_becomes(staff, product, 60 - kept)
    db = await asyncpg.connect(stack.postgres["inventory"])
    row = await db.fetchrow(
        """
        SELECT stock_quantity,
               (SELECT sum(quantity) FROM stock_movements WHERE product_id = products.id),
               (SELECT coalesce(sum(quantity), 0) FROM reservations
                 WHERE product_id = products.id AND state <> 'restored')
          FROM products WHERE id = $1
        """,
        product,
    )
    await db.close()
    assert row is not None
    assert tuple(row) == (60 - kept, 60 - kept, kept)
