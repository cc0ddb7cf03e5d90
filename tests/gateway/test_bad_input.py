"""Whatever is sent, the answer is a clear one, and never a 500."""

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.gateway.conftest import Api, cart

PRODUCT = "01a20f00-0000-4000-8000-000000000000"


def line(**fields: Any) -> dict[str, Any]:
    return {"product_id": PRODUCT, "quantity": 1} | fields


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (cart(items=[line(quantity=0)]), "greater_than"),
        (cart(items=[line(quantity=-1)]), "greater_than"),
        (cart(items=[line(quantity=10_001)]), "less_than_equal"),
        (cart(items=[line(quantity=10**40)]), "less_than_equal"),
        (cart(items=[line(quantity=1.5)]), "int_type"),
        (cart(items=[line(quantity=2.0)]), "int_type"),
        (cart(items=[line(quantity="2")]), "int_type"),
        (cart(items=[line(quantity=True)]), "int_type"),
        (cart(items=[line(quantity=None)]), "int_type"),
        (cart(items=[line(quantity=6000), line(quantity=6000)]), "quantity_too_large"),
        (cart(items=[line(price=-1)]), "greater_than_equal"),
        (cart(items=[line(price=1.0)]), "int_type"),
        (cart(items=[line(price=10**30)]), "less_than_equal"),
        (cart(items=[line(product_id="7")]), "uuid_parsing"),
        (cart(items=[{"quantity": 1}]), "missing"),
        (cart(items=[]), "too_short"),
        (cart(items=[line(product_id=str(uuid4())) for _ in range(1000)]), "too_long"),
        (cart(items=None), "list_type"),
        (cart(currency="xxx"), "unknown_currency"),
        (cart(currency="ZAR"), "unknown_currency"),
        (cart(email="nobody"), "string_pattern_mismatch"),
        (cart(email="a b@example.com"), "string_pattern_mismatch"),
        (cart(email="a@" + "b" * 300), "string_too_long"),
        (cart(email="nul\x00@example.com"), "string_pattern_mismatch"),
        (cart(shipping_address={"name": "Thandi"}), "missing"),
        ([], "model_attributes_type"),
        ("text", "model_attributes_type"),
    ],
)
async def test_an_order_that_is_not_valid(api: Api, customer: str, body: Any, code: str) -> None:
    answer = await api.place(customer, body) if body else await raw(api, customer, b"[]")
    refused = problem(answer, 422)
    assert refused["errors"][0]["code"] == code
    assert refused["detail"] == refused["errors"][0]["message"]


async def test_all_problems_come_together_with_their_products(api: Api, customer: str) -> None:
    body = cart(items=[line(quantity=0), line(quantity="2")], email="nobody")
    refused = problem(await api.place(customer, body), 422)
    products = [error["product_id"] for error in refused["errors"]]
    assert products == [PRODUCT, PRODUCT, None]


async def test_what_was_sent_is_not_repeated_in_the_answer(api: Api, customer: str) -> None:
    answer = await api.place(customer, cart(email="canary with spaces"))
    assert "canary" not in answer.text


async def raw(api: Api, customer: str, content: Any, **headers: str) -> httpx.Response:
    sent = {"Idempotency-Key": uuid4().hex, "Content-Type": "application/json"} | headers
    return await api.http.post("/v1/orders", content=content, headers=api.bearer(customer) | sent)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b'{"a": 1}}', b"[" * 100_000])
async def test_what_is_no_json(api: Api, customer: str, content: bytes) -> None:
    problem(await raw(api, customer, content), 400)


@pytest.mark.parametrize("content", [b"", b"null", b'{"items": [], "email": "\\ud800@b"}'])
async def test_json_that_is_no_order(api: Api, customer: str, content: bytes) -> None:
    problem(await raw(api, customer, content), 422)


async def test_an_enormous_number(api: Api, customer: str) -> None:
    content = json.dumps(cart()).replace('"quantity": 2', '"quantity": ' + "9" * 5000)
    assert 400 <= (await raw(api, customer, content)).status_code < 500


async def test_a_body_that_is_too_large(api: Api, customer: str) -> None:
    refused = problem(await raw(api, customer, b"x" * 10_000_000), 413)
    assert refused["detail"] == "The body is larger than 256 KiB"


async def test_a_body_that_does_not_say_how_large_it_is(api: Api, customer: str) -> None:
    async def endless() -> Any:
        for _ in range(40):
            yield b"x" * 10_000

    problem(await raw(api, customer, endless()), 413)


async def test_another_media_type(api: Api, customer: str) -> None:
    answer = await raw(api, customer, json.dumps(cart()), **{"Content-Type": "text/plain"})
    problem(answer, 422)


@pytest.mark.parametrize("key", ["", "a" * 256, "with space", "\u00e9"])
async def test_a_key_that_is_none(api: Api, customer: str, key: str) -> None:
    headers = [*api.bearer(customer).items(), ("Idempotency-Key", key)]
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    problem(await api.http.post("/v1/orders", json=cart(), headers=sent), 400)


async def test_a_missing_key(api: Api, customer: str) -> None:
    answer = await api.http.post("/v1/orders", json=cart(), headers=api.bearer(customer))
    assert "Idempotency-Key" in problem(answer, 400)["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/orders"),
        ("GET", "/v1/orders"),
        ("GET", f"/v1/orders/{PRODUCT}"),
        ("GET", f"/v1/orders/{PRODUCT}/events"),
        ("POST", f"/v1/orders/{PRODUCT}/cancellation"),
        ("PATCH", f"/v1/admin/orders/{PRODUCT}/status"),
        ("POST", "/v1/admin/orders/status"),
        ("POST", f"/v1/admin/orders/{PRODUCT}/refund"),
        ("PUT", f"/v1/admin/products/{PRODUCT}"),
        ("DELETE", f"/v1/admin/products/{PRODUCT}"),
        ("POST", f"/v1/admin/products/{PRODUCT}/stock"),
    ],
)
async def test_without_a_token(api: Api, customer: str, method: str, path: str) -> None:
    answer = await api.http.request(method, path, json={})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    forged = {"Authorization": api.bearer(customer)["Authorization"][:-4] + "AAAA"}
    problem(await api.http.request(method, path, json={}, headers=forged), 401)
    basic = {"Authorization": "Basic dGhhbmRpOnNlY3JldA=="}
    problem(await api.http.request(method, path, json={}, headers=basic), 401)
    if "/admin/" in path:
        answer = await api.http.request(method, path, json={}, headers=api.bearer(customer))
        problem(answer, 403)


@pytest.mark.parametrize("name", ["no-uuid", "%00", "..%2f", "1"])
async def test_an_order_id_that_is_no_uuid(api: Api, customer: str, name: str) -> None:
    headers = api.bearer(customer, "admin")
    problem(await api.http.get(f"/v1/orders/{name}", headers=headers), 404)
    cancellation = f"/v1/orders/{name}/cancellation"
    answer = await api.http.post(cancellation, json={"reason": "x"}, headers=headers)
    problem(answer, 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/v1/orders", 405),
        ("GET", "/v1/orders?limit=0", 422),
        ("GET", "/v1/orders?limit=101", 422),
        ("GET", "/v1/orders?cursor=x", 422),
        ("GET", "/v1/products/x", 404),
        ("GET", "/v1/products?limit=ten", 422),
    ],
)
async def test_other_addresses(
    api: Api, customer: str, method: str, path: str, status: int
) -> None:
    problem(await api.http.request(method, path, headers=api.bearer(customer)), status)


async def test_answers_are_safe_to_show(api: Api) -> None:
    data = await api.http.get("/v1/products")
    assert data.headers["X-Content-Type-Options"] == "nosniff"
    assert data.headers["Cache-Control"] == "no-store"
    assert data.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert (await api.http.get("/docs")).status_code == 200
    described = (await api.http.get("/openapi.json")).json()
    assert "/v1/orders/{order_id}/events" in described["paths"]
