"""Staff move orders along, many at once if need be, and look after products and stock."""

from uuid import uuid4

from deploy.local.stack import LocalStack
from tests.flows.conftest import PRICE, STOCK, becomes, ordered, paid, stock, stock_becomes
from tests.flows.people import Dashboard, Person

ALONG = ("processing", "shipped", "delivered", "archived")


async def test_an_order_goes_its_way_and_each_step_says_who_and_why(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    order = await paid(anna, product)
    hands = [
        staff.as_(stack.token(name, "admin")) for name in ("framer", "packer", "driver", "boss")
    ]
    for hand, status in zip(hands, ALONG, strict=True):
        await hand.set_status(order, status, f"it is {status}")
        order = await becomes(anna, order, status=status)
    assert [
        (c["old_status"], c["new_status"], c["changed_by"], c["reason"]) for c in order["history"]
    ][2:] == [
        ("confirmed", "processing", "framer", "it is processing"),
        ("processing", "shipped", "packer", "it is shipped"),
        ("shipped", "delivered", "driver", "it is delivered"),
        ("delivered", "archived", "boss", "it is archived"),
    ]
    times = [change["created_at"] for change in order["history"]]
    assert times == sorted(times)
    assert order["payment_status"] == "paid"
    await stock_becomes(anna, product, STOCK - 1)


async def test_what_the_state_machine_forbids_is_refused_with_what_it_allows(
    staff: Person, anna: Person, product: str
) -> None:
    order = await ordered(anna, product)
    path = f"/v1/admin/orders/{order['order_id']}/status"
    refusals = {
        "shipped": "An order that is pending cannot become shipped",
        "confirmed": "An order is confirmed by its payment, not by hand",
        "refunded": "Nothing can be refunded: the payment is unpaid",
    }
    for status, detail in refusals.items():
        answer = await staff.ask("PATCH", path, {"status": status, "reason": "try"})
        assert answer.status_code == 409
        assert (answer.json()["detail"], answer.json()["allowed"]) == (detail, ["cancelled"])
    await anna.pay(order, "pm_card_visa")
    order = await becomes(anna, order, status="confirmed")
    answer = await staff.ask("PATCH", path, {"status": "delivered", "reason": "try"})
    assert (answer.status_code, answer.json()["allowed"]) == (
        409,
        ["processing", "cancelled", "refunded"],
    )
    assert await anna.order(order["order_id"]) == order


async def test_customers_cancel_until_their_order_is_being_prepared_and_staff_later(
    staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product)
    await staff.set_status(order, "processing")
    await becomes(anna, order, status="processing")
    path = f"/v1/orders/{order['order_id']}/cancellation"
    answer = await anna.ask("POST", path, {"reason": "too late"})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "An order that is processing cannot be cancelled"
    body = {"status": "cancelled", "reason": "it broke", "admin_notes": "glass, twice"}
    admin = f"/v1/admin/orders/{order['order_id']}/status"
    assert (await staff.ask("PATCH", admin, body)).status_code == 202
    await becomes(anna, order, status="cancelled", payment_status="refunded")
    seen = await staff.order(order["order_id"])
    assert (seen["admin_notes"], seen["history"][-1]["reason"]) == ("glass, twice", "it broke")
    assert await stripe.kept(order) == 0
    await stock_becomes(anna, product, STOCK)


async def test_many_orders_are_moved_at_once_and_each_has_its_own_answer(
    staff: Person, anna: Person, product: str
) -> None:
    ready = [await paid(anna, product) for _ in range(3)]
    unpaid, unknown = await ordered(anna, product), str(uuid4())
    answer = await staff.ask(
        "POST",
        "/v1/admin/orders/status",
        {
            "order_ids": [*(order["order_id"] for order in ready), unpaid["order_id"], unknown],
            "status": "processing",
            "reason": "the morning's batch",
        },
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["accepted"] for result in results] == [True, True, True, False, False]
    assert results[3]["detail"] == "An order that is pending cannot become processing"
    assert results[3]["allowed"] == ["cancelled"]
    assert results[4]["detail"] == "There is no such order"
    for order in ready:
        seen = await becomes(anna, order, status="processing")
        assert seen["history"][-1]["reason"] == "the morning's batch"
    assert (await anna.order(unpaid["order_id"]))["status"] == "pending"


async def test_a_partial_refund_sent_twice_under_one_key_is_made_once(
    staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    order = await paid(anna, product)
    path = f"/v1/admin/orders/{order['order_id']}/refund"
    body, key = {"amount": 2000, "reason": "a scratch"}, {"Idempotency-Key": str(uuid4())}
    answers = [await staff.ask("POST", path, body, key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    await becomes(anna, order, payment_status="partially_refunded", amount_refunded=2000)
    await staff.refund(order, amount=1000)  # would come after a second one of 2000
    await becomes(anna, order, amount_refunded=3000)
    assert await stripe.kept(order) == PRICE - 3000


async def test_a_product_is_put_changed_switched_off_and_removed(
    staff: Person, anna: Person
) -> None:
    product = str(uuid4())
    path = f"/v1/admin/products/{product}"
    body = {"name": "Frame", "price": 8000, "currency": "zar", "available": True}
    assert (await anna.ask("PUT", path, body)).status_code == 403
    made = (await staff.ask("PUT", path, body)).json()
    assert (made["name"], made["price"], made["stock_quantity"]) == ("Frame", 8000, 0)
    await staff.ask("POST", f"{path}/stock", {"delta": 5, "reason": "delivery"})
    changed = (await staff.ask("PUT", path, body | {"price": 9000})).json()
    assert (changed["price"], changed["stock_quantity"]) == (9000, 5)
    assert (await ordered(anna, product))["total"] == 9000

    assert (await staff.ask("PUT", path, body | {"available": False})).is_success
    placed = await anna.place(product, 1)
    assert placed.messages == ("Frame is no longer available",)
    await staff.remove_product(product)
    assert (await anna.ask("GET", f"/v1/products/{product}")).status_code == 404
    assert (await staff.ask("DELETE", path)).status_code == 404
    assert (await anna.place(product, 1)).messages == ("Product no longer available",)


async def test_stock_is_changed_once_per_key_and_never_below_nothing(
    staff: Person, anna: Person, product: str
) -> None:
    path = f"/v1/admin/products/{product}/stock"
    body, key = {"delta": 7, "reason": "delivery"}, {"Idempotency-Key": str(uuid4())}
    first = await staff.ask("POST", path, body, key)
    assert (first.status_code, first.json()["stock_quantity"]) == (200, STOCK + 7)
    assert (await staff.ask("POST", path, body, key)).json() == first.json()
    too_much = await staff.ask("POST", path, {"delta": -18, "reason": "breakage"})
    assert too_much.status_code == 409
    assert too_much.json()["detail"] == "Stock of Print is 17; it cannot be reduced by 18"
    left = await staff.ask("POST", path, {"delta": -17, "reason": "breakage"})
    assert (left.status_code, left.json()["stock_quantity"]) == (200, 0)
    assert await stock(anna, product) == 0
    unknown = f"/v1/admin/products/{uuid4()}/stock"
    assert (await staff.ask("POST", unknown, body)).status_code == 404
