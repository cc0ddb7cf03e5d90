"""On the running system: an order's trace, and a parked message by command."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import httpx
import pytest

from contracts.inventory import CommitStock
from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from services.kit.publisher import Publisher
from tests.flows.conftest import anna, client, paid, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.looking import rows
from tests.messages import outgoing
from tests.ops.cli import Cli
from tests.ops.conftest import asked_by

__all__ = ["anna", "client", "product", "staff"]


@pytest.fixture
async def api(stack: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """The ops service, asked by a viewer."""
    async with asked_by(stack, "vusi", "viewer") as opened:
        yield opened


async def whole_trace(api: httpx.AsyncClient, order: Json) -> list[Json]:
    """The trace of a paid order, once its end has been heard of."""

    async def look() -> list[Json]:
        answer = await api.get(f"/v1/orders/{order['order_id']}/trace")
        return list(answer.json()) if answer.is_success else []

    def is_whole(seen: list[Json]) -> bool:
        actions = [each["summary"] for each in seen if each["topic"] == "audit.inventory"]
        return any("committed" in action for action in actions) and any(
            "status confirmed" in each["summary"]
            for each in seen
            if each["type"] == "order.order-updated.v1"
        )

    found: list[Json] = await eventually(look, is_whole)
    return found


async def test_every_message_of_an_order_leads_back_to_its_first(
    api: httpx.AsyncClient, anna: Person, product: str
) -> None:
    trace = await whole_trace(api, await paid(anna, product))
    by_id = {entry["message_id"]: entry for entry in trace}

    def beginning(entry: Json) -> str:
        while entry["causation_id"]:
            entry = by_id[entry["causation_id"]]
        return str(entry["type"])

    assert {beginning(entry) for entry in trace} == {
        "order.place-order.v1",
        "stripe.event-received.v1",
        # The payment service asks Stripe by itself: what it learns has no message before it.
        *(beginning(entry) for entry in trace if entry["source"] == "payment"),
    }
    confirmed, *_ = [
        entry
        for entry in trace
        if entry["type"] == "order.order-updated.v1" and "status confirmed" in entry["summary"]
    ]
    assert by_id[confirmed["causation_id"]]["type"] == "payment.payment-succeeded.v1"
    (commit,) = [entry for entry in trace if entry["type"] == "inventory.commit-stock.v1"]
    assert commit["causation_id"] == confirmed["causation_id"]
    assert {entry["topic"] for entry in trace} >= {
        *("order.commands", "order.events", "inventory.commands", "inventory.events"),
        *("payment.commands", "payment.events", "stripe.webhooks"),
        *("audit.order", "audit.inventory", "audit.payment"),
    }
    assert "_secret_" not in json.dumps(trace)


async def test_an_order_is_shown_and_its_audit_holds(
    stack: LocalStack, api: httpx.AsyncClient, cli: Cli, anna: Person, product: str
) -> None:
    order = await paid(anna, product)
    await whole_trace(api, order)
    listed = await cli.run("orders", "list", "--limit", "5", "--json")
    assert order["order_id"] in [row["order_id"] for row in listed.json]
    shown = await cli.run("orders", "show", order["order_id"])
    assert shown.code == 0, shown.err
    assert "confirmed, paid" in shown.out
    intent = order["payment"]["payment_intent_id"]
    by_intent = await cli.run("orders", "show", intent, "--json")
    assert by_intent.json["order_id"] == order["order_id"]
    assert [row["new_status"] for row in by_intent.json["audit"] if row["topic"] == "audit.order"][
        -1
    ] == "confirmed"
    verified = await cli.run("audit", "verify")
    assert "nothing was altered, nothing is missing" in verified.out
    assert verified.code == 0
    assert (await cli.run("sagas", "stuck", "--seconds", "3600")).out.startswith("no stuck orders")
    assert (await cli.run("lag", "--json")).code == 0


async def test_a_trace_is_followed_while_the_order_goes_on(
    cli: Cli, api: httpx.AsyncClient, anna: Person, staff: Person, product: str
) -> None:
    order = await paid(anna, product)
    await whole_trace(api, order)
    following = await cli.start("orders", "trace", order["order_id"], "--follow", "--json")
    assert following.stdout is not None
    types = []
    await staff.set_status(order, "processing")
    async with asyncio.timeout(20):
        async for line in following.stdout:
            entry = json.loads(line)
            types.append(entry["type"])
            if "status processing" in entry["summary"]:
                break
    following.send_signal(signal.SIGINT)
    assert await following.wait() == 0
    assert types[0] == "order.place-order.v1"
    assert "order.change-order-status.v1" in types


async def test_a_parked_message_is_replayed_and_discarded_by_command(
    stack: LocalStack, cli: Cli, api: httpx.AsyncClient
) -> None:
    order_id = uuid4()
    publisher = Publisher(stack.kafka, "test")
    await publisher.publish([outgoing(CommitStock(order_id=order_id)) for _ in range(2)])
    await publisher.stop()

    async def mine() -> list[Json]:
        found = (await api.get("/v1/dead-letters", params={"service": "inventory"})).json()
        return [row for row in found if row["source_key"] == str(order_id)]

    first, behind = await eventually(mine, lambda seen: len(seen) == 2)
    name = f"inventory/{first['parked_id']}"
    assert (first["state"], behind["state"]) == ("parked", "waiting")
    listed = await cli.run("dead-letters", "list", "--service", "inventory")
    assert name in listed.out
    shown = await cli.run("dead-letters", "show", name, "--json")
    assert [row["parked_id"] for row in shown.json["behind"]] == [behind["parked_id"]]

    again = await cli.run("dead-letters", "replay", name, "--reason", "try it", "--json")
    assert again.code == 1
    (outcome,) = again.json
    assert outcome["outcome"] == "parked again"
    assert outcome["why"] == first["reason"]

    waits = await cli.run("dead-letters", "replay", f"inventory/{behind['parked_id']}",
                          "--reason", "try it", "--json")  # fmt: skip
    assert waits.json[0]["outcome"] == "refused"
    done = await cli.run("dead-letters", "discard", name, "--reason", "sent by a test", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["outcome"] == "discarded"
    # What waited behind it is tried now, fails by itself, and is discarded as well.
    await eventually(mine, lambda seen: [row["state"] for row in seen] == ["parked"])
    rest = ["dead-letters", "discard", f"inventory/{behind['parked_id']}", "--reason", "as well"]
    assert (await cli.run(*rest)).code == 0
    assert await mine() == []
    (row,) = await rows(
        stack,
        "inventory",
        "SELECT closed_by, close_reason FROM parked_messages WHERE id = $1",
        first["parked_id"],
    )
    assert tuple(row) == ("naledi", "sent by a test")
    assert (await cli.run(*rest)).code == 1  # it is discarded already


async def test_errors_say_what_to_do_and_have_codes_of_their_own(cli: Cli) -> None:
    unknown = await cli.run("orders", "show", str(uuid4()))
    assert (unknown.code, "orders list" in unknown.err) == (3, True)
    viewer = await cli.run("dead-letters", "discard", "order/1", "--reason", "x", role="viewer")
    assert (viewer.code, "needs the role admin" in viewer.err) == (4, True)
    away = await cli.run("--url", "http://127.0.0.1:1", "orders", "list")
    assert (away.code, "does not answer" in away.err) == (5, True)
    misnamed = await cli.run("dead-letters", "show", "seventeen")
    assert (misnamed.code, "payment/17" in misnamed.err) == (2, True)
    assert (await cli.run("dead-letters", "replay", "--reason", "x")).code == 2


async def test_nobody_notices_that_ops_is_away_and_it_catches_up(
    stack: LocalStack, api: httpx.AsyncClient, anna: Person, product: str
) -> None:
    await asyncio.to_thread(partial(stack.stop, "ops"))
    order = await paid(anna, product)
    await asyncio.to_thread(partial(stack.start, "ops"))
    assert len(await whole_trace(api, order)) > 10
    verdict = (await api.get("/v1/audit/verdict")).json()
    assert [verdict[kind] for kind in ("broken", "gaps", "differences")] == [[], [], []]
