"""What people see of their orders: lists, streams, decisions; and of others' orders nothing."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import httpx

from deploy.local.stack import LocalStack
from tests.flows.conftest import PRICE, becomes, ordered, paid
from tests.flows.people import Person

Event = dict[str, Any]


async def test_a_customer_pages_through_their_own_orders_newest_first(
    staff: Person, anna: Person, product: str
) -> None:
    placed = [(await ordered(anna, product))["order_id"] for _ in range(5)]
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor:
        after = f"&cursor={cursor}" if cursor else ""
        page = (await anna.ask("GET", f"/v1/orders?limit=2{after}")).json()
        seen += [order["order_id"] for order in page["data"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (seen, pages) == (placed[::-1], 3)
    customer = (await anna.order(placed[0]))["customer_id"]
    theirs = (await staff.ask("GET", f"/v1/orders?customer_id={customer}")).json()
    assert [order["order_id"] for order in theirs["data"]] == seen


async def test_the_list_shows_an_order_as_it_is_now(anna: Person, product: str) -> None:
    order = await paid(anna, product)
    (listed,) = (await anna.ask("GET", "/v1/orders")).json()["data"]
    assert listed == await anna.order(order["order_id"]) == order


async def test_customers_never_see_each_others_orders(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    order = await ordered(anna, product)
    path = f"/v1/orders/{order['order_id']}"
    ben = staff.as_(stack.token(f"ben-{uuid4().hex[:6]}"))
    for answer in (
        await ben.ask("GET", path),
        await ben.ask("GET", f"{path}/events"),
        await ben.ask("POST", f"{path}/cancellation", {"reason": "not mine"}),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such order")
    assert (await ben.ask("GET", "/v1/orders")).json() == {"data": [], "next_cursor": None}
    asked = await ben.ask("GET", f"/v1/orders?customer_id={order['customer_id']}")
    assert asked.status_code == 403
    assert await anna.order(order["order_id"]) == order


async def test_staff_see_notes_and_customers_their_secret(
    staff: Person, anna: Person, product: str
) -> None:
    order = await ordered(anna, product)
    assert order["payment"]["client_secret"].startswith(order["payment"]["payment_intent_id"])
    assert "admin_notes" not in order
    seen = await staff.order(order["order_id"])
    assert "client_secret" not in seen["payment"]
    assert seen["admin_notes"] is None


async def test_who_waits_gets_the_decision_and_who_does_not_finds_it(
    anna: Person, product: str
) -> None:
    line = {"product_id": product, "quantity": 1}
    waited = await anna.check_out([line])
    assert waited.status_code == 201
    assert waited.headers["preference-applied"] == "wait=20"
    order = waited.json()
    assert (order["total"], order["items"]) == (
        PRICE,
        [{"product_id": product, "name": "Print", "quantity": 1, "price": PRICE}],
    )
    assert order["payment"]["client_secret"]

    at_once = await anna.check_out([line], wait=None)
    assert at_once.status_code == 202
    assert at_once.json().keys() == {"order_id", "status"}
    assert at_once.headers["location"] == f"/v1/orders/{at_once.json()['order_id']}"
    seen = await becomes(anna, at_once.json(), stripe_status="requires_payment_method")
    assert seen["status"] == "pending"


async def test_a_stream_tells_each_change_once_and_goes_on_where_it_broke(
    stack: LocalStack, client: httpx.AsyncClient, staff: Person, product: str
) -> None:
    token = stack.token(f"follower-{uuid4().hex[:6]}")
    anna = staff.as_(token)
    order = await ordered(anna, product)
    url = f"{stack.gateway}/v1/orders/{order['order_id']}/events"

    async with aclosing(events(client, url, token)) as stream:
        first = await anext(stream)
        assert (first["id"], first["data"]["new_status"]) == ("1", "pending")
        await anna.pay(order, "pm_card_visa")
        second = await anext(stream)
        assert (second["id"], second["event"]) == ("2", "status")
        assert second["data"]["old_status"] == "pending"
        assert second["data"]["new_status"] == "confirmed"
        assert second["data"]["order_id"] == order["order_id"]

    await staff.set_status(order, "processing")  # while nobody listens
    await becomes(anna, order, status="processing")
    async with aclosing(events(client, url, token, last_event_id="2")) as stream:
        third = await anext(stream)
        await staff.set_status(order, "shipped", "with the courier")
        fourth = await anext(stream)
    assert [(e["id"], e["data"]["new_status"]) for e in (third, fourth)] == [
        ("3", "processing"),
        ("4", "shipped"),
    ]
    assert fourth["data"]["reason"] == "with the courier"


async def test_changes_that_show_no_other_status_are_not_told(
    stack: LocalStack, client: httpx.AsyncClient, staff: Person, product: str
) -> None:
    """Three versions pass while the customer authenticates; the status is one and the same."""
    token = stack.token(f"follower-{uuid4().hex[:6]}")
    anna = staff.as_(token)
    order = await ordered(anna, product)
    url = f"{stack.gateway}/v1/orders/{order['order_id']}/events"
    async with aclosing(events(client, url, token)) as stream:
        assert (await anext(stream))["data"]["new_status"] == "pending"
        await anna.pay(order, "pm_card_authenticationRequired")
        await becomes(anna, order, stripe_status="requires_action")
        await anna.cancel(order["order_id"], "changed my mind")
        assert (await anext(stream))["data"]["new_status"] == "cancelled"


async def events(
    client: httpx.AsyncClient, url: str, token: str, *, last_event_id: str | None = None
) -> AsyncGenerator[Event, None]:
    """The server-sent events of a stream; gives up when none comes for 20 seconds."""
    headers = {"Authorization": f"Bearer {token}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with client.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: Event = {}
        lines = answer.aiter_lines()
        while True:
            async with asyncio.timeout(20):
                name, _, value = (await anext(lines)).partition(": ")
            if name == "data":
                event["data"] = json.loads(value)
            elif name:
                event[name] = value
            elif event:
                yield event
                event = {}
