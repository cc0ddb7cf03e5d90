"""The catalogue and the cart check, from the product view."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx

from contracts.inventory import Product
from tests.gateway.conftest import Api
from tests.gateway.other_side import PATIENCE, product, product_updated


async def shown(api: Api, *products: Product) -> None:
    """Tell the gateway of products and return when its view has them."""
    await api.other_side.say(*map(product_updated, products))
    versions = {told.product_id: told.version for told in products}
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = await api.service.pool.fetch(
                "SELECT product_id, version FROM products WHERE product_id = ANY($1)",
                list(versions),
            )
            if all(row["version"] >= versions[row["product_id"]] for row in rows) and len(
                rows
            ) == len(versions):
                return
            await asyncio.sleep(0.02)


async def check(api: Api, *lines: dict[str, Any]) -> httpx.Response:
    return await api.http.post("/v1/carts/validation", json={"items": list(lines)})


def line(product_id: UUID, quantity: int = 1, **fields: Any) -> dict[str, Any]:
    return {"product_id": str(product_id), "quantity": quantity} | fields


async def test_a_cart_that_can_be_had(api: Api) -> None:
    one = product(uuid4())
    await shown(api, one)
    answer = await check(api, line(one.product_id, 5, price=11900))
    assert (answer.status_code, answer.json()) == (200, {"valid": True, "errors": []})


async def test_all_problems_of_a_cart_are_reported_together(api: Api) -> None:
    off = product(uuid4(), available=False)
    removed = product(uuid4(), removed=True)
    few = product(uuid4(), stock_quantity=3)
    dearer = product(uuid4(), price=15050)
    never = uuid4()
    await shown(api, off, removed, few, dearer)
    answer = await check(
        api,
        line(never),
        line(removed.product_id),
        line(off.product_id),
        line(few.product_id, 2),
        line(few.product_id, 2),
        line(dearer.product_id, price=12000),
    )
    assert answer.json()["valid"] is False
    assert [(error["message"], error["product_id"]) for error in answer.json()["errors"]] == [
        ("Product no longer available", str(never)),
        ("Product no longer available", str(removed.product_id)),
        ("Dunes is no longer available", str(off.product_id)),
        ("Insufficient stock for Dunes. Available: 3, In cart: 4", str(few.product_id)),
        ("Price for Dunes has changed. Was R120.00, now R150.50", str(dearer.product_id)),
    ]


async def test_a_cart_that_is_not_valid(api: Api) -> None:
    assert (await check(api)).status_code == 422
    assert (await check(api, line(uuid4(), 0))).status_code == 422


async def test_an_older_state_of_a_product_changes_nothing(api: Api) -> None:
    product_id = uuid4()
    await shown(api, product(product_id, 5, price=500))
    marker = product(uuid4())
    await shown(api, product(product_id, 4, price=400), marker)
    answer = await api.http.get(f"/v1/products/{product_id}")
    assert (answer.json()["version"], answer.json()["price"]) == (5, 500)


async def test_the_catalogue_comes_in_pages_without_removed_products(api: Api) -> None:
    there = [product(uuid4()) for _ in range(5)]
    gone = product(uuid4(), removed=True)
    await shown(api, *there, gone)
    found: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await api.http.get("/v1/products", params=query)).json()
        assert len(page["data"]) <= 2
        found += [item["product_id"] for item in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(found) == len(set(found))
    assert {str(told.product_id) for told in there} <= set(found)
    assert str(gone.product_id) not in found


async def test_a_product_that_cannot_be_read_does_not_take_the_catalogue_along(api: Api) -> None:
    one, broken = product(uuid4()), product(uuid4())
    await shown(api, one, broken)
    wrong = "UPDATE products SET currency = 'Rand' WHERE product_id = $1"
    await api.service.pool.execute(wrong, broken.product_id)
    try:
        listed = await api.http.get("/v1/products", params={"limit": 200})
        assert listed.status_code == 200
        ids = {shown["product_id"] for shown in listed.json()["data"]}
        assert str(one.product_id) in ids
        assert str(broken.product_id) not in ids
        assert (await check(api, line(one.product_id))).json()["valid"]
    finally:
        await api.service.pool.execute(
            "DELETE FROM products WHERE product_id = $1", broken.product_id
        )
