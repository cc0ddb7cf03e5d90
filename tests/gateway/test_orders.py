"""Reading, following and cancelling orders: whose they are and what they show."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
from structlog.testing import capture_logs

from contracts.message import new_message_id
from contracts.order import CancelOrder, OrderStatus, PaymentStatus, PaymentView
from tests.gateway.conftest import Api
from tests.gateway.other_side import history, order

S = OrderStatus
PAYMENT = PaymentView(payment_intent_id="pi_1", client_secret="pi_1_secret", status="succeeded")


async def test_an_order_shows_each_caller_what_is_theirs(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer, payment=PAYMENT, admin_notes="watch this one"))
    path = f"/v1/orders/{order_id}"

    mine = (await api.http.get(path, headers=api.bearer(customer))).json()
    assert mine["payment"]["client_secret"] == "pi_1_secret"
    assert "admin_notes" not in mine
    assert mine["items"] == [
        {"product_id": str(order_id), "name": "Dunes", "quantity": 2, "price": 12000}
    ]
    assert mine["history"][0]["new_status"] == "pending"
    assert (mine["total"], mine["currency"], mine["version"]) == (24000, "zar", 1)

    staff = (await api.http.get(path, headers=api.bearer("sipho", "admin"))).json()
    assert staff["admin_notes"] == "watch this one"
    assert staff["payment"] == {"payment_intent_id": "pi_1", "status": "succeeded"}

    other = await api.http.get(path, headers=api.bearer("somebody else"))
    unknown = await api.http.get(f"/v1/orders/{uuid4()}", headers=api.bearer(customer))
    assert other.status_code == unknown.status_code == 404
    assert other.json() == unknown.json()


async def test_the_view_never_goes_back(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer, 3, status=S.CONFIRMED))
    await api.other_side.say(order(order_id, customer, 2))
    await api.shows(order(order_id, customer, 4, status=S.PROCESSING))
    await api.other_side.say(order(order_id, customer, 3, status=S.CONFIRMED))
    last = new_message_id()
    await api.shows(order(last, customer))
    shown = await api.http.get(f"/v1/orders/{order_id}", headers=api.bearer(customer))
    assert (shown.json()["version"], shown.json()["status"]) == (4, "processing")


async def test_a_row_that_cannot_be_read_takes_no_list_along(api: Api, customer: str) -> None:
    """Changed by hand, or written by a newer release: the others are listed, page by page."""
    ids = [new_message_id() for _ in range(4)]
    for order_id in ids:
        await api.shows(order(order_id, customer, status=S.CONFIRMED))
    broken = ids[2]
    unread = """
        UPDATE orders SET document = jsonb_set(document::jsonb, '{status}', '"teleported"')::json
         WHERE order_id = $1
        """
    await api.service.pool.execute(unread, broken)
    path = "/v1/orders"
    with capture_logs() as logs:
        page = (await api.http.get(path, params={"limit": 2}, headers=api.bearer(customer))).json()
        assert [shown["order_id"] for shown in page["data"]] == [str(ids[3])]
        query = {"limit": 2, "cursor": page["next_cursor"]}
        page = (await api.http.get(path, params=query, headers=api.bearer(customer))).json()
        assert [shown["order_id"] for shown in page["data"]] == [str(ids[1]), str(ids[0])]
    (line,) = [line for line in logs if line["event"] == "a row of the view cannot be read"]
    assert (line["id"], line["fields"]) == (str(broken), ["status"])

    asked = {"order_ids": [str(each) for each in ids], "status": "processing", "reason": "x"}
    staff = api.bearer("sipho", "admin")
    answer = await api.http.post("/v1/admin/orders/status", json=asked, headers=staff)
    assert {UUID(each["order_id"]): each["accepted"] for each in answer.json()["results"]} == {
        each: each != broken for each in ids
    }


async def test_orders_are_listed_newest_first_in_pages(api: Api, customer: str) -> None:
    ids = [new_message_id() for _ in range(5)]
    for order_id in ids:
        await api.shows(order(order_id, customer))
    await api.shows(order(new_message_id(), f"{customer}-other"))

    async def pages(headers: dict[str, str], **query: Any) -> list[UUID]:
        found: list[UUID] = []
        while True:
            answer = await api.http.get("/v1/orders", params=query | {"limit": 2}, headers=headers)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += [UUID(shown["order_id"]) for shown in page["data"]]
            if page["next_cursor"] is None:
                return found
            query["cursor"] = page["next_cursor"]

    assert await pages(api.bearer(customer)) == ids[::-1]
    assert await pages(api.bearer("sipho", "admin"), customer_id=customer) == ids[::-1]
    assert await pages(api.bearer(f"{customer}-nobody")) == []
    curious = await api.http.get(
        "/v1/orders", params={"customer_id": customer}, headers=api.bearer("curious")
    )
    assert curious.status_code == 403


async def test_cancelling(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer, status=S.CONFIRMED))

    async def cancel(headers: dict[str, str], reason: str = "changed my mind") -> httpx.Response:
        path = f"/v1/orders/{order_id}/cancellation"
        return await api.http.post(path, json={"reason": reason}, headers=headers)

    assert (await cancel(api.bearer("somebody else"))).status_code == 404
    assert (await cancel(api.bearer("sipho", "admin"))).status_code == 403
    assert (await cancel(api.bearer(customer), reason="  ")).status_code == 422
    assert not api.other_side.all(CancelOrder, order_id)

    asked = await cancel(api.bearer(customer))
    assert (asked.status_code, asked.json()["status"]) == (202, "confirmed")
    [command] = await api.other_side.hear(CancelOrder, order_id)
    assert (command.message.requested_by, command.message.by_staff) == (customer, False)
    assert command.message.reason == "changed my mind"

    await api.shows(order(order_id, customer, 2, status=S.CANCELLED))
    late = await cancel(api.bearer(customer))
    assert late.status_code == 409
    assert late.json()["detail"] == "An order that is cancelled cannot be cancelled"
    assert late.json()["allowed"] == []


async def events(
    api: Api, customer: str, order_id: UUID, last: str | None = None
) -> AsyncIterator[dict[str, Any]]:
    headers = api.bearer(customer) | ({"Last-Event-ID": last} if last else {})
    path = f"/v1/orders/{order_id}/events"
    async with api.http.stream("GET", path, headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        async for text in stream.aiter_lines():
            name, _, value = text.partition(": ")
            if name == "data":
                event["data"] = json.loads(value)
            elif name:
                event[name] = value
            elif event:
                yield event
                event = {}


async def test_following_an_order_from_the_first_change_on(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer))
    stream = events(api, customer, order_id)

    first = await anext(stream)
    assert (first["id"], first["event"]) == ("1", "status")
    assert first["data"]["new_status"] == "pending"
    await api.other_side.say(
        order(order_id, customer, 2, payment=PAYMENT),  # no change of status: no event
        order(
            order_id,
            customer,
            4,
            status=S.PROCESSING,
            history=history(S.PENDING, S.CONFIRMED, S.PROCESSING),
        ),
    )
    second, third = await anext(stream), await anext(stream)
    assert [event["id"] for event in (second, third)] == ["2", "3"]
    assert third["data"]["new_status"] == "processing"
    await stream.aclose()  # type: ignore[attr-defined]


async def test_following_goes_on_where_it_was_interrupted(api: Api, customer: str) -> None:
    order_id = new_message_id()
    told = order(order_id, customer, 3, history=history(S.PENDING, S.CONFIRMED, S.PROCESSING))
    await api.shows(told)
    stream = events(api, customer, order_id, last="2")
    assert (await anext(stream))["id"] == "3"
    await stream.aclose()  # type: ignore[attr-defined]
    stream = events(api, customer, order_id, last="9" * 5000)
    assert (await anext(stream))["id"] == "1"
    await stream.aclose()  # type: ignore[attr-defined]


async def test_following_somebody_elses_order(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer))
    path = f"/v1/orders/{order_id}/events"
    assert (await api.http.get(path, headers=api.bearer("curious"))).status_code == 404


async def test_those_who_wait_survive_a_lost_connection(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer))
    stream = events(api, customer, order_id)
    await anext(stream)

    killed = await api.service.pool.fetchval(
        """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = 'gateway-waiting' AND datname = current_database()"""
    )
    assert killed == 1
    await api.shows(order(order_id, customer, 2, status=S.CONFIRMED))
    async with asyncio.timeout(10):
        assert (await anext(stream))["data"]["new_status"] == "confirmed"
    await stream.aclose()  # type: ignore[attr-defined]


async def test_many_streams_hold_no_database_connection(api: Api, customer: str) -> None:
    order_id = new_message_id()
    await api.shows(order(order_id, customer, payment_status=PaymentStatus.UNPAID))
    size = api.service.settings.database_pool_size
    streams = [events(api, customer, order_id) for _ in range(size * 3)]
    await asyncio.gather(*(anext(stream) for stream in streams))
    assert api.service.pool.get_idle_size() > 0
    await api.other_side.say(order(order_id, customer, 2, status=S.CANCELLED))
    news = await asyncio.gather(*(anext(stream) for stream in streams))
    assert {event["data"]["new_status"] for event in news} == {"cancelled"}
    for stream in streams:
        await stream.aclose()  # type: ignore[attr-defined]
