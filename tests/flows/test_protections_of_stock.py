"""P1, P2, P3 and P5 of the requirements on the running system: stock is never sold twice or lost.

Each test fails when its protection is taken away. Some have more than one layer: a
lost race, for example, would end at the constraint of P3. What has to be seen layer by layer has
tests of its own beside the service.
"""

import asyncio
from uuid import UUID

import asyncpg
import pytest

from contracts.inventory import RestoreStock
from contracts.message import new_message_id
from deploy.local.stack import LocalStack
from services.kit.publisher import Publisher
from tests.flows.conftest import (
    PRICE,
    RACE_LOST,
    STOCK,
    at_rest,
    becomes,
    movements,
    ordered,
    refused,
    stock,
    stock_in_database,
)
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.looking import rows


async def test_p1_no_order_is_accepted_for_stock_that_does_not_exist(
    anna: Person, product: str
) -> None:
    """P1: the reservation compares what is asked with what is there."""
    answer = await anna.check_out([{"product_id": product, "quantity": STOCK + 1}])
    assert refused(answer, 400) == ["Insufficient stock for Print. Available: 10, Requested: 11"]
    assert answer.json()["errors"][0]["product_id"] == product


async def test_p2_of_many_who_race_exactly_as_many_win_as_there_are(
    stack: LocalStack, staff: Person
) -> None:
    """P2: check and decrement are one step; the losers had all seen a product in stock."""
    product = await staff.add_product("Print", price=PRICE, stock=3)
    people = [staff.as_(stack.token(f"racer-{number}")) for number in range(12)]
    line = {"product_id": product, "quantity": 1}
    answers = await asyncio.gather(*(person.check_out([line]) for person in people))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [400] * 9
    assert [refused(a, 400) for a in answers if a.status_code == 400] == [[RACE_LOST]] * 9


@pytest.mark.parametrize(
    ("opening", "statement", "status"),
    [
        (1, "SELECT reserve_product_stock($1, 1)", 400),
        (0, "SELECT restore_product_stock($1, 1)", 201),
    ],
    ids=["takes the last one", "brings one back"],
)
async def test_p2_an_order_waits_for_a_script_that_has_the_row(
    stack: LocalStack,
    staff: Person,
    anna: Person,
    opening: int,
    statement: str,
    status: int,
) -> None:
    """P2: decided on the locked row, never on what another transaction is about to change."""
    product = await staff.add_product("Print", price=PRICE, stock=1)
    if not opening:
        await ordered(anna, product)
    script = await asyncpg.connect(stack.postgres["inventory"])
    try:
        async with script.transaction():
            await script.fetchval(statement, UUID(product))
            line = {"product_id": product, "quantity": 1}
            order = asyncio.create_task(anna.check_out([line]))
            await eventually(
                lambda: rows(
                    stack,
                    "inventory",
                    "SELECT pid FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))",
                    script.get_server_pid(),
                ),
                bool,
            )
        answer = await order
    finally:
        await script.close()
    assert answer.status_code == status, answer.text
    assert status == 201 or refused(answer, 400) == [RACE_LOST]
    assert await stock_in_database(stack, product) == 0


async def test_p3_not_even_plain_sql_makes_the_stock_negative(
    stack: LocalStack, product: str
) -> None:
    """P3: the constraint, and functions for scripts that say what is wrong."""
    with pytest.raises(asyncpg.CheckViolationError, match="stock_quantity_non_negative"):
        await rows(
            stack,
            "inventory",
            "UPDATE products SET stock_quantity = -1 WHERE id = $1",
            UUID(product),
        )
    (row,) = await rows(
        stack, "inventory", "SELECT reserve_product_stock($1, 11)->>'error'", UUID(product)
    )
    assert row[0] == "Insufficient stock for Print. Available: 10, Requested: 11"
    assert await stock_in_database(stack, product) == STOCK


async def test_p5_stock_comes_back_once_however_often_it_is_asked_for(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    """P5: a reservation is restored by moving its state, which goes one way."""
    order = await ordered(anna, product, 4)
    await asyncio.gather(
        anna.cancel(order["order_id"], "twice"),
        staff.cancel_as_staff(order["order_id"], "and once more"),
    )
    await becomes(anna, order, status="cancelled")
    await at_rest(stack, order)
    again = [new_message_id() for _ in range(3)]  # the inbox does not know them
    publisher = Publisher(stack.kafka, "test")
    for message_id in again:
        await publisher.send(
            RestoreStock(order_id=UUID(order["order_id"]), reason="again"), message_id=message_id
        )
    await publisher.stop()
    await heard_by_inventory(stack, again)
    assert await movements(stack, order) == [("reserved", -4), ("restored", 4)]
    assert await stock_in_database(stack, product) == STOCK


async def test_p5_an_undo_that_comes_before_its_do_leaves_the_stock_alone(
    stack: LocalStack, anna: Person, product: str
) -> None:
    """P5: in whatever order the messages come; a restore for an unknown order is remembered."""
    unknown, message_id = new_message_id(), new_message_id()
    publisher = Publisher(stack.kafka, "test")
    await publisher.send(RestoreStock(order_id=unknown, reason="first"), message_id=message_id)
    await publisher.stop()
    await heard_by_inventory(stack, [message_id])
    (row,) = await rows(
        stack, "inventory", "SELECT state FROM reservation_orders WHERE order_id = $1", unknown
    )
    assert row["state"] == "restored"
    assert await stock(anna, product) == STOCK


async def heard_by_inventory(stack: LocalStack, message_ids: list[UUID]) -> None:
    query = "SELECT message_id FROM inbox WHERE message_id = ANY($1)"
    await eventually(
        lambda: rows(stack, "inventory", query, message_ids),
        lambda found: len(found) == len(message_ids),
    )
