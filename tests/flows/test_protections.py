"""P1 to P9 of the requirements on the running system: what went wrong before, and must not again.

Each fails when its protection is taken away; what has to be seen closer (locks, constraints,
signatures) has tests of its own beside the service.
"""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from contracts.inventory import RestoreStock
from deploy.local.shop import Json, Shop
from deploy.local.stack import LocalStack
from services.kit.publisher import Publisher
from tests.flows.conftest import becomes, ordered, stock, stock_becomes
from tests.invariants import rows


class Door:
    """The gateway's front door, as a raw HTTP client finds it."""

    def __init__(self, stack: LocalStack, client: httpx.AsyncClient, customer: str) -> None:
        self._url = f"{stack.gateway}/v1/orders"
        self._client = client
        self._token = stack.token(customer)

    async def place(
        self, items: list[Json], *, key: str | None = None, wait: int = 20, **more: Any
    ) -> httpx.Response:
        return await self._client.post(
            self._url,
            json={"items": items, "email": "a@example.com", **more},
            headers={
                "Authorization": f"Bearer {self._token}",
                "Idempotency-Key": key or str(uuid4()),
                "Prefer": f"wait={wait}",
            },
        )


@pytest.fixture
def door(stack: LocalStack, client: httpx.AsyncClient) -> Door:
    return Door(stack, client, f"door-{uuid4().hex[:6]}")


@pytest.fixture
async def product(staff: Shop) -> str:
    return await staff.add_product("Print", price=12000, stock=10)


async def test_p1_no_order_is_accepted_for_stock_that_does_not_exist(
    door: Door, product: str
) -> None:
    answer = await door.place([{"product_id": product, "quantity": 11}])
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    (error,) = answer.json()["errors"]
    assert error["message"] == "Insufficient stock for Print. Available: 10, Requested: 11"
    assert error["product_id"] == product


async def test_p2_of_many_who_race_for_the_last_items_exactly_as_many_win_as_there_are(
    stack: LocalStack, client: httpx.AsyncClient, staff: Shop
) -> None:
    product = await staff.add_product("Print", price=12000, stock=3)
    doors = [Door(stack, client, f"racer-{number}") for number in range(12)]
    answers = await asyncio.gather(
        *(door.place([{"product_id": product, "quantity": 1}]) for door in doors)
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [400] * 9
    lost = {e["message"] for a in answers if a.status_code == 400 for e in a.json()["errors"]}
    assert lost == {
        "Product out of stock. Another customer may have purchased it. Please try again."
    }


async def test_p3_not_even_plain_sql_makes_the_stock_negative(
    stack: LocalStack, product: str
) -> None:
    db = await asyncpg.connect(stack.postgres["inventory"])
    with pytest.raises(asyncpg.CheckViolationError, match="stock_quantity_non_negative"):
        await db.execute("UPDATE products SET stock_quantity = -1 WHERE id = $1", UUID(product))
    assert '"success": false' in await db.fetchval(
        "SELECT reserve_product_stock($1, 11)", UUID(product)
    )
    await db.close()


async def test_p4_a_forged_webhook_is_refused_and_confirms_nothing(
    stack: LocalStack, client: httpx.AsyncClient, anna: Shop, product: str
) -> None:
    order = await ordered(anna, product)
    answer = await client.post(
        f"{stack.gateway}/v1/stripe/webhook",
        json={"type": "payment_intent.succeeded"},
        headers={"Stripe-Signature": "t=1700000000,v1=" + "0" * 64},
    )
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Webhook signature verification failed: ")
    assert (await anna.order(order["order_id"]))["status"] == "pending"


async def test_p5_stock_comes_back_once_however_often_it_is_asked_for(
    stack: LocalStack, staff: Shop, anna: Shop, product: str
) -> None:
    order = await ordered(anna, product, 4)
    await asyncio.gather(
        anna.cancel(order["order_id"], "twice"),
        staff.cancel_as_staff(order["order_id"], "and once more"),
        return_exceptions=True,
    )
    await becomes(anna, order, status="cancelled")
    publisher = Publisher(stack.kafka, "test")
    for _ in range(3):  # other message ids: the inbox does not know them
        await publisher.send(RestoreStock(order_id=UUID(order["order_id"]), reason="again"))
    await publisher.stop()
    await stock_becomes(anna, product, 10)
    await asyncio.sleep(0.5)
    moves = await rows(
        stack,
        "inventory",
        "SELECT quantity FROM stock_movements WHERE order_id = $1 ORDER BY id",
        UUID(order["order_id"]),
    )
    assert [move["quantity"] for move in moves] == [-4, 4]
    assert await stock(anna, product) == 10


async def test_p6_the_price_charged_is_the_products_never_the_clients(
    door: Door, product: str
) -> None:
    close = await door.place([{"product_id": product, "quantity": 2, "price": 11900}])
    assert (close.status_code, close.json()["total"]) == (201, 24000)
    cheap = await door.place([{"product_id": product, "quantity": 2, "price": 1}])
    assert cheap.status_code == 400
    assert cheap.json()["errors"][0]["message"] == (
        "Price for Print has changed. Was R0.01, now R120.00"
    )


async def test_p7_a_stale_cart_hears_of_all_its_problems_at_once(
    staff: Shop, anna: Shop, door: Door
) -> None:
    gone, scarce, dear = [
        await staff.add_product(name, price=12000, stock=2) for name in ("Gone", "Scarce", "Dear")
    ]
    await staff._call("DELETE", f"/v1/admin/products/{gone}")
    items: list[Json] = [
        {"product_id": gone, "quantity": 1, "price": 12000},
        {"product_id": scarce, "quantity": 5, "price": 12000},
        {"product_id": dear, "quantity": 1, "price": 9900},
    ]
    checked = await anna._call("POST", "/v1/carts/validation", {"items": items})
    assert [error["message"] for error in checked["errors"]] == [
        "Product no longer available",
        "Insufficient stock for Scarce. Available: 2, In cart: 5",
        "Price for Dear has changed. Was R99.00, now R120.00",
    ]
    placed = await door.place(items)  # the same, with authority
    assert [error["product_id"] for error in placed.json()["errors"]] == [gone, scarce, dear]
    assert await stock(anna, dear) == 2


async def test_p8_a_double_click_places_one_order_and_reads_one_answer(
    door: Door, anna: Shop, product: str
) -> None:
    key, items = str(uuid4()), [{"product_id": product, "quantity": 1}]
    first = await door.place(items, key=key)
    again = await door.place(items, key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    other = await door.place([{"product_id": product, "quantity": 2}], key=key)
    assert other.status_code == 422

    key = str(uuid4())
    both = await asyncio.gather(door.place(items, key=key), door.place(items, key=key))
    assert sorted(answer.status_code for answer in both) == [201, 409]
    await stock_becomes(anna, product, 8)


async def test_p9_every_change_is_logged_by_the_database_and_published(
    stack: LocalStack, staff: Shop, anna: Shop, product: str
) -> None:
    order = await ordered(anna, product)
    await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed")
    path = f"/v1/admin/orders/{order['order_id']}/status"
    await staff._call("PATCH", path, {"status": "processing", "reason": "to the framer"})
    seen = await becomes(anna, order, status="processing")
    logged = await rows(
        stack,
        "order",
        "SELECT * FROM order_status_history WHERE order_id = $1 ORDER BY id",
        UUID(order["order_id"]),
    )
    assert [(r["old_status"], r["new_status"], r["reason"]) for r in logged] == [
        (c["old_status"], c["new_status"], c["reason"]) for c in seen["history"]
    ]
    assert logged[-1]["changed_by"].startswith("staff-")


@pytest.mark.parametrize(
    ("items", "status"),
    [
        ([], 422),
        ([{"product_id": "PRODUCT", "quantity": 0}], 422),
        ([{"product_id": "PRODUCT", "quantity": -1}], 422),
        ([{"product_id": "PRODUCT", "quantity": 1.5}], 422),
        ([{"product_id": "PRODUCT", "quantity": 10**12}], 422),
        ([{"product_id": str(uuid4()), "quantity": 1}], 400),
        ([{"product_id": str(uuid4()), "quantity": 1}] * 1000, 422),
        ([{"product_id": "PRODUCT", "quantity": 6}] * 2, 400),  # 12 in all, of 10
    ],
    ids=["empty", "zero", "negative", "fraction", "enormous", "unknown", "1000 lines", "added up"],
)
async def test_carts_that_cannot_be_are_refused_with_what_is_wrong(
    stack: LocalStack, door: Door, product: str, items: list[Json], status: int
) -> None:
    filled = [
        {**item, "product_id": item["product_id"].replace("PRODUCT", product)} for item in items
    ]
    answer = await door.place(filled)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["message"]
    for service in ("order", "inventory", "gateway"):
        assert not await rows(stack, service, "SELECT 1 FROM parked_messages"), service
