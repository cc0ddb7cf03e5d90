"""Stock on the running system: the report is what inventory has, and adjustments are done once."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from contracts.message import new_message_id
from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.conftest import anna, at_rest, becomes, client, ordered, paid, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.looking import rows
from tests.ops.cli import Cli
from tests.ops.conftest import asked_by

__all__ = ["anna", "client", "product", "staff"]


@pytest.fixture
async def api(stack: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    """The ops service, asked by naledi, who is an administrator."""
    async with asked_by(stack, "naledi", "admin") as opened:
        yield opened


async def seen(api: httpx.AsyncClient, product: str) -> Json:
    answer = await api.get(f"/v1/stock/{product}")
    return dict(answer.json()) if answer.is_success else {}


async def in_inventory(stack: LocalStack, product: str) -> dict[str, int]:
    """What inventory's own tables say."""
    (row,) = await rows(
        stack,
        "inventory",
        """
        SELECT stock_quantity AS level,
               coalesce(sum(quantity) FILTER (WHERE state = 'held'), 0)::bigint AS held,
               coalesce(sum(quantity) FILTER (WHERE state = 'committed'), 0)::bigint AS sold,
               movements_total AS moved
          FROM products LEFT JOIN reservations ON product_id = products.id
         WHERE products.id = $1
         GROUP BY products.id
        """,
        UUID(product),
    )
    return dict(row)


async def becomes_inventorys(
    stack: LocalStack, api: httpx.AsyncClient, product: str
) -> dict[str, int]:
    """The report once it says what inventory says."""
    expected = await in_inventory(stack, product)

    def same(found: Json) -> bool:
        return {name: found.get(name) for name in expected} == expected

    await eventually(lambda: seen(api, product), same)
    return expected


async def test_the_report_is_what_inventory_has(
    stack: LocalStack, api: httpx.AsyncClient, cli: Cli, anna: Person, staff: Person, tmp_path: Path
) -> None:
    lily = await staff.add_product("Lily, watercolour", price=12000, stock=10)
    await paid(anna, lily, 3)
    cancelled = await paid(anna, lily, 2)
    await staff.cancel_as_staff(cancelled["order_id"], "damaged")
    await at_rest(stack, await becomes(anna, cancelled, status="cancelled"))
    await ordered(anna, lily, 1)
    expected = await becomes_inventorys(stack, api, lily)
    assert expected == {"level": 6, "held": 1, "sold": 3, "moved": 6}

    plot = tmp_path / "lily.svg"
    shown = await cli.run("stock", "show", lily, "--svg", str(plot), "--json", role="viewer")
    assert shown.code == 0, shown.err
    assert (shown.json["unrecorded"], shown.json["sold_per_day"]) == (0, 3.0)
    assert shown.json["days_of_cover"] == 2.0
    today = shown.json["history"][-1]
    assert {kind: today[kind] for kind in ("received", "reserved", "committed", "returned")} == {
        "received": 10,
        "reserved": 6,
        "committed": 5,
        "returned": 2,
    }
    assert (today["level"], shown.json["history"][0]["level"]) == (6, 0)
    assert "Lily, watercolour" in plot.read_text()
    told = await cli.run("stock", "show", lily)
    assert "held, sold  1, 3" in told.out

    report = await cli.run("stock", "report", "--search", "lily, water")
    assert lily in report.out
    assert "2.0 days" in report.out
    low = await cli.run("stock", "low", "--json")
    assert lily not in [row["product_id"] for row in low.json]
    taken = await cli.run("stock", "adjust", lily, "--by", "-2", "--reason", "broken", "--json")
    assert taken.json["level"] == 4
    await becomes_inventorys(stack, api, lily)
    low = await cli.run("stock", "low", "--json", role="viewer")
    assert lily in [row["product_id"] for row in low.json]


async def test_an_adjustment_has_a_name_a_reason_and_its_true_outcome(
    stack: LocalStack, api: httpx.AsyncClient, cli: Cli, product: str
) -> None:
    done = await cli.run("stock", "adjust", product, "--by", "5", "--reason", "found", "--json")
    assert done.code == 0, done.err
    assert (done.json["outcome"], done.json["level"]) == ("adjusted", 15)
    (booked,) = await rows(
        stack,
        "inventory",
        "SELECT quantity, reason, changed_by FROM stock_movements"
        " WHERE product_id = $1 AND reason = 'found'",
        UUID(product),
    )
    assert tuple(booked) == (5, "found", "naledi")

    too_many = await cli.run("stock", "adjust", product, "--by", "-16", "--reason", "lost")
    assert too_many.code == 1
    assert "it cannot be reduced by 16" in too_many.out
    await eventually(lambda: seen(api, product), lambda found: bool(found.get("level") == 15))
    shown = await cli.run("stock", "show", product)
    assert "+5 by naledi: adjusted" in shown.out
    assert "-16 by naledi: refused" in shown.out

    unknown = await cli.run("stock", "adjust", str(uuid4()), "--by", "1", "--reason", "x")
    assert (unknown.code, "There is no product" in unknown.out) == (3, True)


async def test_an_adjustment_that_is_sent_twice_is_done_once(
    stack: LocalStack, api: httpx.AsyncClient, cli: Cli, product: str
) -> None:
    adjustment = new_message_id()
    body = {"product_id": product, "delta": 5, "reason": "found"}

    async def put(**other: Any) -> httpx.Response:
        return await api.put(f"/v1/stock/adjustments/{adjustment}", json=body | other)

    both = await asyncio.gather(put(), put())
    assert [answer.status_code for answer in both] == [202, 202]
    again = await cli.run("stock", "adjust", product, "--by", "5", "--reason", "found",
                          "--id", str(adjustment), "--json")  # fmt: skip
    assert (again.json["outcome"], again.json["level"]) == ("adjusted", 15)
    assert (await in_inventory(stack, product))["level"] == 15
    assert (await put(delta=6)).status_code == 409
    assert (await put(delta=0)).status_code == 422


async def test_an_id_that_inventory_would_not_take_is_refused(api: httpx.AsyncClient) -> None:
    body = {"product_id": str(uuid4()), "delta": 5, "reason": "found"}
    old = "0190a3b2-7c4d-7e8f-9a0b-000000000002"  # of 2024
    for adjustment in (uuid4(), old):
        answer = await api.put(f"/v1/stock/adjustments/{adjustment}", json=body)
        assert answer.status_code == 422, answer.text
        assert (await api.get(f"/v1/stock/adjustments/{adjustment}")).status_code == 404


async def test_inventory_away_is_said_and_the_adjustment_is_done_later(
    stack: LocalStack, api: httpx.AsyncClient, product: str
) -> None:
    await asyncio.to_thread(partial(stack.stop, "inventory"))
    path = f"/v1/stock/adjustments/{new_message_id()}"
    body = {"product_id": product, "delta": 5, "reason": "found"}
    assert (await api.put(path, json=body)).json()["answered_at"] is None
    await asyncio.to_thread(partial(stack.start, "inventory"))

    async def look() -> Json:
        return dict((await api.get(path)).json())

    done = await eventually(look, lambda found: found["answered_at"] is not None)
    assert (done["problem"], done["level"]) == (None, 15)


async def test_what_people_are_told(cli: Cli, api: httpx.AsyncClient) -> None:
    missing = await cli.run("stock", "show", str(uuid4()))
    assert (missing.code, "stock report" in missing.err) == (3, True)
    viewer = await cli.run("stock", "adjust", str(uuid4()), "--by", "1", "--reason", "x",
                           role="viewer")  # fmt: skip
    assert (viewer.code, "needs the role admin" in viewer.err) == (4, True)
    away = await cli.run("--url", "http://127.0.0.1:1", "stock", "adjust", str(uuid4()),
                         "--by", "1", "--reason", "x")  # fmt: skip
    assert (away.code, "say --id" in away.err) == (5, True)
    assert (await cli.run("stock", "show", "lily")).code == 2
    assert (await cli.run("stock", "adjust", str(uuid4()), "--by", "1")).code == 2
    nothing = await cli.run("stock", "report", "--search", "no such thing")
    assert (nothing.code, nothing.out) == (0, "no such products\n")
    unwritable = json.loads((await api.get("/v1/stock", params={"search": "a\x00b"})).text)
    assert unwritable == []
