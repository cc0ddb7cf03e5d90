"""An order whose answer stays away, on the running system: seen, and tried again now."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.conftest import anna, becomes, client, paid, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.ops.cli import Cli

__all__ = ["anna", "client", "product", "staff"]


@pytest.fixture
async def waiting(stack: LocalStack, anna: Person, product: str) -> AsyncIterator[Json]:
    """An order that inventory, which is away, has not answered yet."""
    stack.stop("inventory")
    try:
        answer = await anna.check_out([{"product_id": product, "quantity": 1}], wait=None)
        yield dict(answer.json())
    finally:
        if stack.process("inventory").pid is None:
            await asyncio.to_thread(stack.start, "inventory")


async def saga_of(cli: Cli, order: Json) -> dict[str, Any]:
    listed = await cli.run("sagas", "list", "--state", "reserving", "--json")
    assert listed.code == 0, listed.err
    found = {row["order_id"]: row for row in listed.json}
    return dict(found.get(order["order_id"], {}))


async def test_what_waits_is_tried_again_now(
    stack: LocalStack, cli: Cli, anna: Person, waiting: Json
) -> None:
    order_id = waiting["order_id"]
    before = await eventually(lambda: saga_of(cli, waiting), bool)
    assert before["waits_for"].startswith("inventory")
    asked = await cli.run("sagas", "retry", order_id, "--reason", "inventory is back")
    assert asked.code == 0, asked.err or asked.out
    assert "1 accepted" in asked.out

    def tried(saga: dict[str, Any]) -> bool:
        return bool(saga["rounds"] > before["rounds"] and saga["next_try_at"])

    await eventually(lambda: saga_of(cli, waiting), tried)
    shown = await cli.run("orders", "show", order_id, "--json")
    kept = [row for row in shown.json["audit"] if row["action"] == "order.retry-order.v1"]
    assert [row["changed_by"] for row in kept] == ["naledi"]
    await asyncio.to_thread(stack.start, "inventory")
    await becomes(anna, waiting, status="pending")
    assert (await cli.run("audit", "verify")).code == 0


async def test_what_waits_for_nothing_is_refused(cli: Cli, anna: Person, product: str) -> None:
    order = await paid(anna, product)
    refused = await cli.run("sagas", "retry", order["order_id"], "--reason", "why not")
    assert refused.code == 1, refused.err
    assert "it waits for no answer: it is confirmed" in refused.out
    unknown = await cli.run("sagas", "retry", str(uuid4()), "--reason", "x")
    assert (unknown.code, "No topic has told of these orders" in unknown.err) == (3, True)
    viewer = await cli.run("sagas", "retry", order["order_id"], "--reason", "x", role="viewer")
    assert viewer.code == 4
    assert (await cli.run("sagas", "list", "--state", "lost")).code == 2
