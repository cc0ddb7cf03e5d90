"""The console on the running system: an order is followed, a parked message is replayed."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from contracts.inventory import CommitStock
from deploy.local.stack import LocalStack
from services.kit.publisher import Publisher
from tests.flows.conftest import anna, client, paid, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.messages import outgoing
from tests.ops.console.conftest import Seen, Somebody

__all__ = ["anna", "client", "product", "staff"]


@pytest.fixture
async def browser(stack: LocalStack) -> AsyncIterator[Somebody]:
    """Of somebody who is admin."""
    address = stack.console.removesuffix("/console")
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30) as opened:
        somebody = Somebody(opened)
        assert (await somebody.sign_in(stack.token("naledi", "admin"))).status == 303
        yield somebody


async def test_a_page_is_told_that_its_order_has_news(
    browser: Somebody, anna: Person, staff: Person, product: str
) -> None:
    order = await paid(anna, product)
    page = f"/orders/{order['order_id']}"

    async def look() -> Seen:
        return await browser.see(f"{page}/now")

    seen = await eventually(look, lambda seen: "pending → confirmed" in seen.text)
    # The calls of Stripe are drawn, too.
    assert "create-intent" in seen.text
    events = []
    address = f"/console{page}/events"
    async with asyncio.timeout(30), browser.client.stream("GET", address) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        async for line in stream.aiter_lines():
            if not line.startswith("event: "):
                continue
            events.append(line.removeprefix("event: "))
            if len(events) == 1:  # the page catches up with what it missed before
                await staff.set_status(order, "processing")
            elif "confirmed → processing" in (await look()).text:
                break
    assert "changed" in events[1:]


async def test_a_replay_shows_what_really_came_of_it(stack: LocalStack, browser: Somebody) -> None:
    order_id = uuid4()
    publisher = Publisher(stack.kafka, "test")
    await publisher.publish([outgoing(CommitStock(order_id=order_id))])
    await publisher.stop()

    async def parked() -> list[str]:
        seen = await browser.see(f"/orders/{order_id}")
        return [link for link in seen.links if "/dead-letters/inventory/" in link]

    # An order of which only the parked message was heard is no order here.
    assert await parked() == []

    async def letters() -> list[str]:
        causes = await browser.see("/dead-letters")
        found = []
        for cause in {link for link in causes.links if "/cause?" in link}:
            group = await browser.see(cause.removeprefix("/console"))
            if str(order_id) in group.text:
                found += [link for link in group.links if "/dead-letters/inventory/" in link]
        return found

    address = (await eventually(letters, bool))[-1].removeprefix("/console")
    page = await browser.see(address)
    assert str(order_id) in page.text
    fields = {"csrf": page.csrf, "service": "inventory", "parked_id": address.rpartition("/")[2]}
    asked = await browser.post("/dead-letters/replay", reason="try it", **fields)
    poll = next(attrs["hx-get"] or "" for _, attrs in asked.elements if "hx-get" in attrs)

    async def outcome() -> Seen:
        return await browser.see(poll.removeprefix("/console"))

    assert "parked again" in (await eventually(outcome, lambda seen: "1 of 1" in seen.text)).text
    asked = await browser.post("/dead-letters/discard", reason="sent by a test", **fields)
    poll = next(attrs["hx-get"] or "" for _, attrs in asked.elements if "hx-get" in attrs)
    assert "discarded" in (await eventually(outcome, lambda seen: "1 of 1" in seen.text)).text
