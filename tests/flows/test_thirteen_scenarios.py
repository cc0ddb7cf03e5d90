"""T1 to T13 of the requirements, each through HTTP on the running system."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from deploy.local.shop import Json, ShopError
from deploy.local.stack import LocalStack
from tests.flows.conftest import (
    RACE_LOST,
    STOCK,
    at_rest,
    becomes,
    movements,
    ordered,
    paid,
    stock,
    stock_becomes,
)
from tests.flows.people import Dashboard, Person
from tests.looking import rows

Begin = Callable[[Person, str, int], Awaitable[Json]]


async def test_t01_ordering_five_takes_five_off_the_stock(anna: Person, product: str) -> None:
    order = await ordered(anna, product, 5)
    assert (order["status"], order["payment_status"]) == ("pending", "unpaid")
    assert order["total"] == 60000
    await stock_becomes(anna, product, STOCK - 5)
    assert (await anna.product(product))["available"]


async def test_t02_ordering_more_than_there_is_is_refused_and_changes_nothing(
    stack: LocalStack, staff: Person, anna: Person
) -> None:
    product = await staff.add_product("Print", price=12000, stock=3)
    placed = await anna.place(product, 5)
    assert placed.messages == ("Insufficient stock for Print. Available: 3, Requested: 5",)
    shelf = await shelf_of(stack, product)
    assert shelf == Shelf(stock=3, moved=3, out=0)


async def test_t03_two_customers_order_the_last_item_at_once_and_exactly_one_gets_it(
    stack: LocalStack, staff: Person
) -> None:
    product = await staff.add_product("The last print", price=12000, stock=1)
    two = [staff.as_(stack.token(name)) for name in ("bo", "cy")]
    results = await asyncio.gather(*(person.place(product, 1) for person in two))
    assert [r.order is not None for r in results].count(True) == 1
    assert [r.messages for r in results if r.order is None] == [(RACE_LOST,)]
    assert await shelf_of(stack, product) == Shelf(stock=0, moved=0, out=1)


async def test_t04_a_payment_confirms_the_order_by_itself(anna: Person, product: str) -> None:
    order = await ordered(anna, product)
    assert await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_t05_a_failed_payment_cancels_the_order_and_gives_the_stock_back(
    anna: Person, product: str
) -> None:
    order = await ordered(anna, product, 2)
    await stock_becomes(anna, product, STOCK - 2)
    assert not await anna.pay(order, "pm_card_chargeDeclined")
    await becomes(anna, order, status="cancelled", payment_status="failed")
    await stock_becomes(anna, product, STOCK)


@pytest.mark.parametrize(("begin", "payment"), [(ordered, "unpaid"), (paid, "refunded")])
async def test_t06_an_administrator_cancels_and_the_stock_is_back(
    staff: Person, anna: Person, product: str, begin: Begin, payment: str
) -> None:
    order = await begin(anna, product, 2)
    await staff.cancel_as_staff(order["order_id"], "damaged")
    await becomes(anna, order, status="cancelled", payment_status=payment)
    await stock_becomes(anna, product, STOCK)


async def test_t07_the_cart_check_tells_of_a_deleted_product(
    staff: Person, anna: Person, product: str
) -> None:
    line = {"product_id": product, "quantity": 1, "price": 12000}
    assert await anna.check_cart([line]) == {"valid": True, "errors": []}
    await staff.remove_product(product)
    answer = await anna.check_cart([line])
    assert not answer["valid"]
    assert [e["message"] for e in answer["errors"]] == ["Product no longer available"]


async def test_t08_the_cart_check_tells_of_a_price_that_changed(
    staff: Person, anna: Person, product: str
) -> None:
    line = {"product_id": product, "quantity": 1, "price": 12000}
    changed = {"name": "Print", "price": 15000, "currency": "zar", "available": True}
    assert (await staff.ask("PUT", f"/v1/admin/products/{product}", changed)).is_success
    answer = await anna.check_cart([line])
    assert not answer["valid"]
    assert [e["message"] for e in answer["errors"]] == [
        "Price for Print has changed. Was R120.00, now R150.00"
    ]
    assert (await anna.check_cart([line | {"price": 15000}]))["valid"]


async def test_t09_the_constraint_refuses_a_negative_stock(
    stack: LocalStack, anna: Person, product: str
) -> None:
    for statement in (
        "UPDATE products SET stock_quantity = -1 WHERE id = $1",
        "UPDATE products SET stock_quantity = stock_quantity - 11 WHERE id = $1",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="stock_quantity_non_negative"):
            await rows(stack, "inventory", statement, UUID(product))
    assert await stock(anna, product) == STOCK


async def test_t10_the_audit_trail_has_who_when_from_to_and_why(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    order = await ordered(anna, product)
    asked = datetime.now(UTC)
    await staff.cancel_as_staff(order["order_id"], "a wrong address")
    seen = await becomes(anna, order, status="cancelled")
    trail = await rows(
        stack,
        "order",
        "SELECT * FROM order_status_history WHERE order_id = $1 ORDER BY id",
        UUID(order["order_id"]),
    )
    assert [(r["old_status"], r["new_status"]) for r in trail] == [
        (None, "pending"),
        ("pending", "cancelled"),
    ]
    assert trail[0]["changed_by"].startswith("anna-")
    assert trail[1]["changed_by"].startswith("staff-")
    assert trail[1]["reason"] == "a wrong address"
    assert timedelta() <= trail[1]["created_at"] - asked < timedelta(seconds=20)
    shown = [(c["old_status"], c["new_status"], c["changed_by"]) for c in seen["history"]]
    assert shown == [(r["old_status"], r["new_status"], r["changed_by"]) for r in trail]


async def test_t11_of_ten_orders_at_once_none_is_lost_and_none_oversold(
    stack: LocalStack, staff: Person
) -> None:
    product = await staff.add_product("Print", price=12000, stock=7)
    people = [staff.as_(stack.token(f"eleven-{number}")) for number in range(10)]
    results = await asyncio.gather(*(person.place(product, 1) for person in people))
    assert [r.order is not None for r in results].count(True) == 7
    assert [r.messages for r in results if r.order is None] == [(RACE_LOST,)] * 3
    assert await shelf_of(stack, product) == Shelf(stock=0, moved=0, out=7)


async def test_t12_a_hundred_orders_are_all_decided_within_a_minute(
    stack: LocalStack, staff: Person
) -> None:
    product = await staff.add_product("Print", price=12000, stock=80)
    people = [staff.as_(stack.token(f"twelve-{number}")) for number in range(100)]
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(person.place(product, 1) for person in people))
    assert [r.order is not None for r in results].count(True) == 80
    assert await shelf_of(stack, product) == Shelf(stock=0, moved=0, out=80)


async def test_t13_rapid_orders_with_cancellations_mixed_in_leave_a_stock_that_adds_up(
    stack: LocalStack, staff: Person, stripe: Dashboard
) -> None:
    """There is half of what they want: some are refused, some get what others gave back."""
    rng = random.Random(13)
    product = await staff.add_product("Print", price=12000, stock=40)

    async def customer(number: int) -> int:
        """How many this customer keeps in the end."""
        person = staff.as_(stack.token(f"thirteen-{number}"))
        placed = await person.place(product, quantity := rng.randint(1, 3))
        if placed.order is None:
            return 0
        order, story = placed.order, rng.choice(["pay", "cancel", "pay cancel", "staff", "race"])
        if "pay" in story:
            await person.pay(order, "pm_card_visa")
            await becomes(person, order, status="confirmed")
        if "cancel" in story:
            await person.cancel(order["order_id"], "changed my mind")
        if story == "staff":
            await staff.cancel_as_staff(order["order_id"], "a wrong address")
        if story == "race":  # at the same moment: whoever comes first, the cancellation stands
            await asyncio.gather(
                pays_if_possible(person, order), person.cancel(order["order_id"], "no")
            )
        if story == "pay":
            return quantity
        await becomes(person, order, status="cancelled")
        await at_rest(stack, order)
        assert await movements(stack, order) == [("reserved", -quantity), ("restored", quantity)]
        assert await stripe.kept(order) == 0
        return 0

    kept = sum(await asyncio.gather(*(customer(number) for number in range(40))))
    assert await shelf_of(stack, product) == Shelf(stock=40 - kept, moved=40 - kept, out=kept)
    await stock_becomes(staff, product, 40 - kept)


async def pays_if_possible(person: Person, order: Json) -> None:
    with contextlib.suppress(ShopError):  # Stripe: the intent was cancelled before
        await person.pay(order, "pm_card_visa")


class Shelf(NamedTuple):
    """A product's stock in inventory's database, three times over."""

    stock: int
    moved: int
    """What the ledger adds up to, the opening stock being its first row."""
    out: int
    """What orders hold or have bought."""


async def shelf_of(stack: LocalStack, product: str) -> Shelf:
    (row,) = await rows(
        stack,
        "inventory",
        """
        SELECT stock_quantity,
               (SELECT sum(quantity)::int FROM stock_movements WHERE product_id = products.id),
               (SELECT coalesce(sum(quantity), 0)::int FROM reservations
                 WHERE product_id = products.id AND state <> 'restored')
          FROM products WHERE id = $1
        """,
        UUID(product),
    )
    return Shelf(*row)
