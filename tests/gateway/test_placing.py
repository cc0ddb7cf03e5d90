"""Placing an order: once per key, with the decision for those who wait."""

import asyncio
from uuid import UUID, uuid4

from contracts.customer import ContactGiven
from contracts.order import OrderStatus, PaymentView, PlaceOrder, Problem
from tests.gateway.conftest import Api, cart, until
from tests.gateway.other_side import order

PAYMENT = PaymentView(payment_intent_id="pi_1", client_secret="pi_1_secret", status="created")


async def test_an_order_is_accepted_sent_and_readable_at_once(api: Api, customer: str) -> None:
    placed = await api.place(customer, cart(currency="zar"))
    order_id = placed.json()["order_id"]

    assert placed.status_code == 202
    assert placed.json() == {"order_id": order_id, "status": "pending"}
    assert placed.headers["Location"] == f"/v1/orders/{order_id}"
    shown = await api.http.get(placed.headers["Location"], headers=api.bearer(customer))
    assert shown.json()["status"] == "pending"
    assert shown.json()["version"] == 0

    [command] = await api.other_side.hear(PlaceOrder, order_id)
    assert command.message.customer_id == customer
    assert command.message.currency == "zar"
    [contact] = await api.other_side.hear(ContactGiven, order_id)
    assert contact.message.email == "thandi@example.com"


async def test_lines_of_one_product_are_added_up(api: Api, customer: str) -> None:
    line = {"product_id": str(uuid4()), "quantity": 2}
    placed = await api.place(customer, cart(items=[line, {**line, "quantity": 3}]))

    [command] = await api.other_side.hear(PlaceOrder, placed.json()["order_id"])
    [added] = command.message.lines
    assert added.quantity == 5


async def test_the_callers_trace_goes_on(api: Api, customer: str) -> None:
    traceparent = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
    headers = api.bearer(customer) | {"Idempotency-Key": "t", "traceparent": traceparent}
    placed = await api.http.post("/v1/orders", json=cart(), headers=headers)

    [command] = await api.other_side.hear(PlaceOrder, placed.json()["order_id"])
    assert command.envelope.traceparent == traceparent


async def test_the_same_key_and_body_give_one_order_and_one_answer(api: Api, customer: str) -> None:
    """P8: without the key's uniqueness there would be ten orders."""
    answers = await asyncio.gather(*(api.place(customer, key="same") for _ in range(10)))

    assert {answer.status_code for answer in answers} == {202}
    [order_id] = {answer.json()["order_id"] for answer in answers}
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 9
    listed = await api.http.get("/v1/orders", headers=api.bearer(customer))
    assert len(listed.json()["data"]) == 1
    await api.other_side.hear(PlaceOrder, order_id)
    assert len(api.other_side.all(PlaceOrder, order_id)) == 1


async def test_a_spelling_of_the_same_body_is_the_same_request(api: Api, customer: str) -> None:
    first = await api.place(customer, cart(), key="spelt")
    again = await api.place(customer, dict(reversed(cart(currency=None).items())), key="spelt")
    assert again.json() == first.json()


async def test_the_same_key_with_another_body_is_refused(api: Api, customer: str) -> None:
    await api.place(customer, key="once")
    other = await api.place(customer, cart(email="other@example.com"), key="once")
    assert other.status_code == 422
    assert "different request" in other.json()["detail"]


async def test_a_key_belongs_to_its_customer(api: Api, customer: str) -> None:
    mine = await api.place(customer, key="shared")
    theirs = await api.place(f"{customer}-2", key="shared")
    assert theirs.status_code == 202
    assert theirs.json()["order_id"] != mine.json()["order_id"]


async def test_an_expired_key_is_taken_anew(api: Api, customer: str) -> None:
    first = await api.place(customer, key="old")
    await api.service.pool.execute(
        "UPDATE idempotency_keys SET expires_at = now() WHERE customer_id = $1", customer
    )
    second = await api.place(customer, key="old")
    assert second.json()["order_id"] != first.json()["order_id"]


async def order_of(api: Api, customer: str) -> UUID:
    """The order that the customer is waiting for."""
    found: list[UUID] = []

    async def is_there() -> bool:
        rows = await api.service.pool.fetch(
            "SELECT order_id FROM orders WHERE customer_id = $1", customer
        )
        found.extend(row["order_id"] for row in rows)
        return bool(found)

    await until(is_there)
    return found[0]


async def decide(api: Api, customer: str, **fields: object) -> UUID:
    """Let the order service speak of the order that the customer is waiting for."""
    order_id = await order_of(api, customer)
    await api.other_side.say(order(order_id, customer, 1), order(order_id, customer, 2, **fields))
    return order_id


async def test_who_waits_gets_the_order_when_it_can_be_paid(api: Api, customer: str) -> None:
    placing = asyncio.create_task(api.place(customer, key="w", wait=20))
    order_id = await decide(api, customer, payment=PAYMENT)
    placed = await placing

    assert placed.status_code == 201
    assert placed.headers["Preference-Applied"] == "wait=20"
    assert placed.json()["order_id"] == str(order_id)
    assert placed.json()["payment"]["client_secret"] == "pi_1_secret"
    again = await api.place(customer, key="w")
    assert (again.status_code, again.json()) == (201, placed.json())


async def test_who_waits_is_told_why_it_cannot_be_had(api: Api, customer: str) -> None:
    text = "Insufficient stock for Dunes. Available: 1, Requested: 2"
    problem = Problem(code="insufficient_stock", message=text, product_id=uuid4())
    placing = asyncio.create_task(api.place(customer, key="w", wait=20))
    await decide(api, customer, problems=(problem,), status=OrderStatus.CANCELLED)
    placed = await placing

    assert placed.status_code == 400
    assert placed.headers["content-type"] == "application/problem+json"
    assert placed.json()["detail"] == text
    assert placed.json()["errors"] == [problem.model_dump(mode="json")]
    again = await api.place(customer, key="w")
    assert (again.status_code, again.json()) == (400, placed.json())


async def test_who_has_waited_long_enough_gets_202_and_a_repeat_too(
    api: Api, customer: str
) -> None:
    placed = await api.place(customer, key="slow", wait=1)
    assert placed.status_code == 202
    order_id = UUID(placed.json()["order_id"])
    await api.shows(order(order_id, customer, payment=PAYMENT))

    again = await api.place(customer, key="slow", wait=1)
    assert (again.status_code, again.json()) == (202, placed.json())


async def test_while_the_first_request_runs_a_repeat_is_told_to_wait(
    api: Api, customer: str
) -> None:
    placing = asyncio.create_task(api.place(customer, key="w", wait=20))
    await order_of(api, customer)
    repeat = await api.place(customer, key="w")
    assert repeat.status_code == 409
    assert 1 <= int(repeat.headers["Retry-After"]) <= 25
    await decide(api, customer, payment=PAYMENT)
    await placing


async def test_after_a_crash_a_repeat_finds_the_order(api: Api, customer: str) -> None:
    """The process died after the key's commit: the key has an order but no answer."""
    placed = await api.place(customer, key="crash")
    order_id = UUID(placed.json()["order_id"])
    await api.service.pool.execute(
        """UPDATE idempotency_keys
              SET response = NULL, status_code = NULL, running_until = now()
            WHERE customer_id = $1""",
        customer,
    )
    await api.shows(order(order_id, customer, payment=PAYMENT))

    repeat = await api.place(customer, key="crash")
    assert repeat.status_code == 201
    assert repeat.json()["order_id"] == str(order_id)
    assert len(await api.other_side.hear(PlaceOrder, order_id)) == 1
    again = await api.place(customer, key="crash")
    assert again.json() == repeat.json()
