"""What cannot be: each has a clear answer, nothing of it reaches an order, nobody stumbles over it.

The forms of requests are the gateway's, and tested there one by one; here is what became of them
behind it: no order, no stock moved, no message parked, no error in any log.
"""

import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest

from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.conftest import PRICE, STOCK, becomes, ordered, refused, stock
from tests.flows.people import Person

pytestmark = pytest.mark.usefixtures("nobody_stumbles")


@pytest.fixture
async def nothing_happens(anna: Person, product: str) -> AsyncIterator[None]:
    yield
    orders = (await anna.ask("GET", "/v1/orders")).json()["data"]
    assert all(order["status"] == "cancelled" for order in orders)
    assert await stock(anna, product) == STOCK


# -- carts ----------------------------------------------------------------------------------------

REFUSED_AT_THE_DOOR: dict[str, list[Json]] = {
    "empty": [],
    "zero": [{"quantity": 0}],
    "negative": [{"quantity": -1}],
    "fractional": [{"quantity": 1.5}],
    "enormous": [{"quantity": 10**12}],
    "no number": [{"quantity": "many"}],
    "adds up to too many": [{"quantity": 9999}, {"quantity": 9999}],
    "1,000 lines": [{"quantity": 1, "product_id": str(uuid4())} for _ in range(1000)],
    "no UUID": [{"quantity": 1, "product_id": "print"}],
    "price below zero": [{"quantity": 1, "price": -1}],
}


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("lines", REFUSED_AT_THE_DOOR.values(), ids=REFUSED_AT_THE_DOOR.keys())
async def test_a_cart_that_cannot_be(anna: Person, product: str, lines: list[Json]) -> None:
    items = [{"product_id": product} | line for line in lines]
    answer = await anna.check_out(items)
    assert refused(answer, 422)
    checked = await anna.ask("POST", "/v1/carts/validation", {"items": items})
    assert refused(checked, 422)


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'"text"', b"[" * 100_000])
async def test_a_body_that_is_no_order(
    stack: LocalStack, client: httpx.AsyncClient, anna: Person, content: bytes
) -> None:
    answer = await client.post(
        f"{stack.gateway}/v1/orders",
        content=content,
        headers={
            "Authorization": f"Bearer {stack.token('anyone')}",
            "Idempotency-Key": str(uuid4()),
            "Content-Type": "application/json",
        },
    )
    assert answer.status_code in (400, 422)
    refused(answer, answer.status_code)


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/stripe/webhook"])
async def test_a_body_of_ten_megabytes(
    stack: LocalStack, client: httpx.AsyncClient, path: str
) -> None:
    headers = {"Authorization": f"Bearer {stack.token('anyone')}", "Idempotency-Key": str(uuid4())}
    answer = await client.post(f"{stack.gateway}{path}", content=b"x" * 10**7, headers=headers)
    refused(answer, 413)


@pytest.mark.usefixtures("nothing_happens")
async def test_a_product_that_nobody_knows(anna: Person, product: str) -> None:
    unknown = str(uuid4())
    items = [{"product_id": product, "quantity": 1}, {"product_id": unknown, "quantity": 1}]
    answer = await anna.check_out(items)
    assert refused(answer, 400) == ["Product no longer available"]
    assert answer.json()["errors"][0]["product_id"] == unknown
    all_unknown = [{"product_id": str(uuid4()), "quantity": 1} for _ in range(100)]
    assert refused(await anna.check_out(all_unknown), 400) == ["Product no longer available"] * 100


@pytest.mark.usefixtures("nothing_happens")
async def test_the_same_product_on_two_lines_is_asked_for_once(anna: Person, product: str) -> None:
    answer = await anna.check_out([{"product_id": product, "quantity": 6}] * 2)
    assert refused(answer, 400) == ["Insufficient stock for Print. Available: 10, Requested: 12"]


async def test_two_lines_of_the_same_product_become_one(anna: Person, product: str) -> None:
    answer = await anna.check_out(
        [{"product_id": product, "quantity": 2}, {"product_id": product, "quantity": 3}]
    )
    order = answer.json()
    assert [(i["product_id"], i["quantity"]) for i in order["items"]] == [(product, 5)]
    assert order["total"] == 5 * PRICE


@pytest.mark.usefixtures("nothing_happens")
async def test_a_currency_that_does_not_exist_or_is_not_the_products(
    staff: Person, anna: Person, product: str
) -> None:
    line: Json = {"product_id": product, "quantity": 1}
    assert refused(await anna.check_out([line], currency="zzz"), 422)
    assert refused(await anna.check_out([line], currency="eur"), 400) == [
        "Print is sold in ZAR, not in EUR"
    ]
    path = f"/v1/admin/products/{uuid4()}"
    body = {"name": "Print", "price": PRICE, "currency": "zzz", "available": True}
    assert refused(await staff.ask("PUT", path, body), 422)


# -- keys and tokens ------------------------------------------------------------------------------


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize("key", [None, "", "k" * 256, "with space"])
async def test_an_idempotency_key_that_is_none(anna: Person, product: str, key: str | None) -> None:
    body = {"items": [{"product_id": product, "quantity": 1}], "email": "a@example.com"}
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = await anna.ask("POST", "/v1/orders", body, headers)
    refused(answer, 400)
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_key_that_was_used_for_another_order_or_for_a_refused_one(
    anna: Person, product: str
) -> None:
    key = str(uuid4())
    too_many = [{"product_id": product, "quantity": STOCK + 1}]
    first = await anna.check_out(too_many, key=key)
    again = await anna.check_out(too_many, key=key)
    assert refused(first, 400) == refused(again, 400)
    other = await anna.check_out([{"product_id": product, "quantity": 1}], key=key)
    refused(other, 422)
    assert other.json()["detail"] == "This Idempotency-Key was used for a different request"
    (only,) = (await anna.ask("GET", "/v1/orders")).json()["data"]
    assert only["status"] == "cancelled"
    assert await stock(anna, product) == STOCK


def claims(**changed: Any) -> Json:
    return {"sub": "anna", "exp": int(time.time()) + 60, "roles": []} | changed


@pytest.mark.usefixtures("nothing_happens")
@pytest.mark.parametrize(
    "forge",
    [
        lambda secret: jwt.encode(claims(exp=int(time.time()) - 1), secret),
        lambda _secret: jwt.encode(
            claims(roles=["admin"]), "a secret of the forger's own, 32+ bytes"
        ),
        lambda _secret: jwt.encode(claims(roles=["admin"]), "", algorithm="none"),
        lambda secret: jwt.encode({"sub": "anna"}, secret),
        lambda secret: jwt.encode(claims(sub=""), secret),
        lambda _secret: "no.token.atall",
    ],
    ids=["expired", "forged", "unsigned", "without an end", "of nobody", "no token"],
)
async def test_a_token_that_is_not_good(
    stack: LocalStack, staff: Person, product: str, forge: Any
) -> None:
    somebody = staff.as_(forge(stack.jwt_secret))
    refused(await somebody.check_out([{"product_id": product, "quantity": 1}]), 401)
    refused(await somebody.ask("GET", "/v1/orders"), 401)
    stock_path = f"/v1/admin/products/{product}/stock"
    refused(await somebody.ask("POST", stock_path, {"delta": 1, "reason": "mine"}), 401)


# -- orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [pytest.param(str(uuid4()), id="unknown"), "7", "no-uuid", "%00", "' OR 1=1 --"]
)
async def test_an_order_that_there_is_not(anna: Person, staff: Person, name: str) -> None:
    refused(await anna.ask("GET", f"/v1/orders/{name}"), 404)
    refused(await anna.ask("GET", f"/v1/orders/{name}/events"), 404)
    cancel = await anna.ask("POST", f"/v1/orders/{name}/cancellation", {"reason": "no"})
    refused(cancel, 404)
    body = {"status": "cancelled", "reason": "no"}
    refused(await staff.ask("PATCH", f"/v1/admin/orders/{name}/status", body), 404)
    refused(await staff.ask("POST", f"/v1/admin/orders/{name}/refund", {"reason": "no"}), 404)


async def test_an_order_of_somebody_elses(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    order = await ordered(anna, product)
    ben = staff.as_(stack.token("ben"))
    path = f"/v1/orders/{order['order_id']}"
    refused(await ben.ask("GET", path), 404)
    refused(await ben.ask("POST", f"{path}/cancellation", {"reason": "mine"}), 404)
    admin = f"/v1/admin/orders/{order['order_id']}/status"
    refused(await ben.ask("PATCH", admin, {"status": "cancelled", "reason": "mine"}), 403)
    assert await anna.order(order["order_id"]) == order


async def test_a_customer_id_that_cannot_be_is_not_a_fault_of_ours(staff: Person) -> None:
    refused(await staff.ask("GET", "/v1/orders?customer_id=%00"), 422)


async def test_an_order_that_is_over(anna: Person, product: str) -> None:
    order = await ordered(anna, product)
    await anna.cancel(order["order_id"], "changed my mind")
    order = await becomes(anna, order, status="cancelled")
    path = f"/v1/orders/{order['order_id']}/cancellation"
    refused(await anna.ask("POST", path, {"reason": "once more"}), 409)
    refused(await anna.ask("POST", path, {"reason": ""}), 422)
