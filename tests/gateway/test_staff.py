"""Staff: orders moved along, refunded, in bulk; products administered."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx

from contracts.inventory import AdjustStock, PutProduct, RemoveProduct
from contracts.message import new_message_id
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    PaymentStatus,
    Problem,
    RefundOrder,
)
from tests.gateway.conftest import Api
from tests.gateway.other_side import order, product

S, P = OrderStatus, PaymentStatus
PRINT = {"name": "Dunes", "price": 12000, "currency": "zar", "available": True}


async def paid_order(api: Api, customer: str, status: OrderStatus = S.CONFIRMED) -> UUID:
    order_id = new_message_id()
    await api.shows(order(order_id, customer, status=status, payment_status=P.PAID))
    return order_id


async def staff(
    api: Api, method: str, path: str, body: Any = None, **headers: str
) -> httpx.Response:
    return await api.http.request(
        method, path, json=body, headers=api.bearer("sipho", "admin") | headers
    )


async def test_moving_an_order_along(api: Api, customer: str) -> None:
    order_id = await paid_order(api, customer)
    body = {"status": "processing", "reason": "being framed", "admin_notes": "rush"}
    asked = await staff(api, "PATCH", f"/v1/admin/orders/{order_id}/status", body)
    assert asked.status_code == 202
    [command] = await api.other_side.hear(ChangeOrderStatus, order_id)
    assert command.message.status is S.PROCESSING
    assert command.message.requested_by == "sipho"
    assert command.message.admin_notes == "rush"


async def test_cancelling_and_refunding_are_statuses_too(api: Api, customer: str) -> None:
    order_id = await paid_order(api, customer)
    path = f"/v1/admin/orders/{order_id}/status"
    for status in ("cancelled", "refunded"):
        assert (await staff(api, "PATCH", path, {"status": status, "reason": "x"})).is_success
    [cancel] = await api.other_side.hear(CancelOrder, order_id)
    assert cancel.message.by_staff
    [refund] = await api.other_side.hear(RefundOrder, order_id)
    assert refund.message.amount is None


async def test_what_the_state_machine_forbids(api: Api, customer: str) -> None:
    order_id = await paid_order(api, customer, S.PROCESSING)
    path = f"/v1/admin/orders/{order_id}/status"
    answer = await staff(api, "PATCH", path, {"status": "delivered", "reason": "x"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "An order that is processing cannot become delivered"
    assert answer.json()["allowed"] == ["shipped", "cancelled", "refunded"]
    for body in ({"status": "delivered"}, {"status": "lost", "reason": "x"}):
        assert (await staff(api, "PATCH", path, body)).status_code == 422
    nowhere = f"/v1/admin/orders/{uuid4()}/status"
    unknown = await staff(api, "PATCH", nowhere, {"status": "shipped", "reason": "x"})
    assert unknown.status_code == 404


async def test_many_orders_at_once(api: Api, customer: str) -> None:
    good, shipped = await paid_order(api, customer), await paid_order(api, customer, S.SHIPPED)
    unknown = uuid4()
    body = {
        "order_ids": [str(name) for name in (good, shipped, unknown, good)],
        "status": "processing",
        "reason": "Monday",
    }
    answer = await staff(api, "POST", "/v1/admin/orders/status", body)
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [(result["order_id"], result["accepted"]) for result in results] == [
        (str(good), True),
        (str(shipped), False),
        (str(unknown), False),
    ]
    assert results[1]["allowed"] == ["delivered", "refunded"]
    assert len(await api.other_side.hear(ChangeOrderStatus, good)) == 1
    body["order_ids"] = [str(uuid4()) for _ in range(501)]
    assert (await staff(api, "POST", "/v1/admin/orders/status", body)).status_code == 422


async def test_a_partial_refund_once_per_key(api: Api, customer: str) -> None:
    order_id = await paid_order(api, customer, S.SHIPPED)
    path, key = f"/v1/admin/orders/{order_id}/refund", {"Idempotency-Key": uuid4().hex}
    body = {"amount": 5000, "restock": False, "reason": "scratched"}
    first = await staff(api, "POST", path, body, **key)
    again = await staff(api, "POST", path, body, **key)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    [command] = await api.other_side.hear(RefundOrder, order_id)
    assert (command.message.amount, command.message.restock) == (5000, False)
    assert (await staff(api, "POST", path, body | {"amount": 1}, **key)).status_code == 422


async def test_refunds_that_cannot_be(api: Api, customer: str) -> None:
    order_id = await paid_order(api, customer)
    path = f"/v1/admin/orders/{order_id}/refund"
    too_much = await staff(api, "POST", path, {"amount": 24001, "reason": "x"})
    assert too_much.status_code == 409
    assert "24000" in too_much.json()["detail"]
    for amount in (0, -1, 1.5, "5", True):
        body = {"amount": amount, "reason": "x"}
        assert (await staff(api, "POST", path, body)).status_code == 422
    assert (await staff(api, "POST", path, {"amount": 1})).status_code == 422


async def test_a_product_is_shown_as_soon_as_it_is_there(api: Api) -> None:
    product_id = uuid4()
    path = f"/v1/admin/products/{product_id}"
    putting = asyncio.create_task(staff(api, "PUT", path, PRINT | {"low_stock_threshold": 3}))
    [command] = await api.other_side.hear(PutProduct, product_id)
    assert (command.message.requested_by, command.message.low_stock_threshold) == ("sipho", 3)
    await api.other_side.answer(command, product=product(product_id, stock_quantity=0))
    put = await putting

    assert put.status_code == 200
    assert (put.json()["price"], put.json()["stock_quantity"]) == (12000, 0)
    shown = await api.http.get(f"/v1/products/{product_id}")
    assert shown.json() == {
        "product_id": str(product_id),
        **PRINT,
        "stock_quantity": 0,
        "version": 1,
    }


async def test_a_removed_product_is_gone(api: Api) -> None:
    product_id = uuid4()
    removing = asyncio.create_task(staff(api, "DELETE", f"/v1/admin/products/{product_id}"))
    [command] = await api.other_side.hear(RemoveProduct, product_id)
    await api.other_side.answer(command, product=product(product_id, 2, removed=True))
    assert (await removing).json()["removed"] is True
    assert (await api.http.get(f"/v1/products/{product_id}")).status_code == 404


async def test_inventorys_refusal_is_passed_on(api: Api) -> None:
    for code, status in (("not_found", 404), ("conflict", 409)):
        product_id = uuid4()
        path = f"/v1/admin/products/{product_id}/stock"
        asking = asyncio.create_task(staff(api, "POST", path, {"delta": -9, "reason": "count"}))
        [command] = await api.other_side.hear(AdjustStock, product_id)
        problem = Problem(code=code, message="Not possible because", product_id=product_id)
        await api.other_side.answer(command, problem=problem)
        answer = await asking
        assert (answer.status_code, answer.json()["detail"]) == (status, "Not possible because")
        assert answer.json()["errors"][0]["code"] == code


async def test_stock_is_changed_once_per_key_even_when_the_answer_is_late(api: Api) -> None:
    product_id, key = uuid4(), {"Idempotency-Key": uuid4().hex}
    path, body = f"/v1/admin/products/{product_id}/stock", {"delta": 5, "reason": "delivery"}
    late = await staff(api, "POST", path, body, **key)
    assert late.status_code == 503
    assert late.headers["Retry-After"]

    [command] = await api.other_side.hear(AdjustStock, product_id)
    await api.other_side.answer(command, product=product(product_id, 2))
    answer = await staff(api, "POST", path, body, **key)
    assert (answer.status_code, answer.json()["stock_quantity"]) == (200, 5)
    assert (await staff(api, "POST", path, body, **key)).json() == answer.json()
    assert len(api.other_side.all(AdjustStock, product_id)) == 1


async def test_products_that_are_not_valid(api: Api) -> None:
    path = f"/v1/admin/products/{uuid4()}"
    wrong: list[dict[str, Any]] = [
        {"name": ""},
        {"name": "x" * 201},
        {"name": "nul\x00"},
        {"price": 0},
        {"price": 1.5},
        {"price": 10**9},
        {"currency": "xxx"},
        {"available": "yes"},
        {"low_stock_threshold": -1},
    ]
    for fields in wrong:
        assert (await staff(api, "PUT", path, PRINT | fields)).status_code == 422, fields
    for delta in (0, 1.5, "1", True, 10**10):
        body = {"delta": delta, "reason": "x"}
        assert (await staff(api, "POST", f"{path}/stock", body)).status_code == 422, delta
