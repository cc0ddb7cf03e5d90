"""Many orders at once on the running system, from the command line."""

from pathlib import Path
from uuid import uuid4

from deploy.local.stack import LocalStack
from tests.flows.conftest import anna, becomes, client, ordered, paid, product, staff
from tests.flows.people import Person
from tests.ops.cli import Cli
from tests.ops.conftest import asked_by

__all__ = ["anna", "client", "product", "staff"]


async def test_parcels_are_shipped_in_bulk_and_each_order_says_what_came_of_it(
    cli: Cli, anna: Person, product: str, tmp_path: Path
) -> None:
    first, second = await paid(anna, product), await paid(anna, product)
    ids = [first["order_id"], second["order_id"]]
    packed = await cli.run("bulk", "processing", *ids, "--reason", "packed", "--json")
    assert packed.code == 0, packed.err or packed.out
    assert [row["outcome"] for row in packed.json] == ["accepted", "accepted"]

    unpaid = await ordered(anna, product)
    listed = tmp_path / "parcels"
    listed.write_text("\n".join([*ids, "", unpaid["order_id"]]))
    shipped = await cli.run("bulk", "shipped", "--from", str(listed), "--reason", "van 3")
    assert shipped.code == 1, shipped.err
    assert "2 accepted, 1 refused" in shipped.out
    for order in (first, second):
        shown = await becomes(anna, order, status="shipped")
        assert shown["history"][-1]["changed_by"] == "naledi"
        assert shown["history"][-1]["reason"] == "van 3"
    assert (await anna.order(unpaid["order_id"]))["status"] == "pending"


async def test_orders_are_cancelled_and_refunded_in_bulk(
    cli: Cli, anna: Person, product: str
) -> None:
    first, second = await paid(anna, product), await paid(anna, product)
    cancelled = await cli.run("bulk", "cancel", first["order_id"], "--reason", "recall")
    assert cancelled.code == 0, cancelled.err or cancelled.out
    await becomes(anna, first, status="cancelled", payment_status="refunded")
    refunded = await cli.run("bulk", "refund", second["order_id"], "--no-restock", "--reason", "x")
    assert refunded.code == 0, refunded.err or refunded.out
    await becomes(anna, second, status="refunded", payment_status="refunded")


async def test_a_part_is_refunded_of_one_order_only(
    cli: Cli, anna: Person, product: str, stack: LocalStack
) -> None:
    first, second = await paid(anna, product), await paid(anna, product)
    part = ("--amount", "4000", "--reason", "a scratch")
    refunded = await cli.run("bulk", "refund", first["order_id"], *part, "--json")
    assert refunded.code == 0, refunded.err or refunded.out
    assert refunded.json[0]["outcome"] == "accepted"
    shown = await becomes(anna, first, status="confirmed", payment_status="partially_refunded")
    assert shown["amount_refunded"] == 4000
    both = await cli.run("bulk", "refund", first["order_id"], second["order_id"], *part)
    assert "only one order's money is refunded in part" in both.err
    other = await cli.run("bulk", "cancel", second["order_id"], *part)
    assert "only one order's money is refunded in part" in other.err
    too_much = ("--amount", "8001", "--reason", "a scratch")
    refused = await cli.run("bulk", "refund", first["order_id"], *too_much)
    assert "only 8000 of the payment is left to refund" in refused.out
    async with asked_by(stack, "vusi", "viewer") as api:
        newest = (await api.get("/v1/bulks", params={"limit": 1})).json()
    assert [(row["amount"], row["orders"], row["refused"]) for row in newest] == [(8001, 1, 1)]


async def test_what_people_are_told(cli: Cli) -> None:
    unknown = await cli.run("bulk", "cancel", str(uuid4()), "--reason", "x")
    assert (unknown.code, "No topic has told of these orders" in unknown.err) == (3, True)
    viewer = await cli.run("bulk", "cancel", str(uuid4()), "--reason", "x", role="viewer")
    assert (viewer.code, "needs the role operator or admin" in viewer.err) == (4, True)
    operator = await cli.run("bulk", "cancel", str(uuid4()), "--reason", "x", role="operator")
    assert (operator.code, "needs the role admin" in operator.err) == (4, True)
    assert (await cli.run("bulk", "cancel", "--reason", "x")).code == 2
    assert (await cli.run("bulk", "cancel", "lily", "--reason", "x")).code == 2
    assert (await cli.run("bulk", "cancel", str(uuid4()))).code == 2
    assert (await cli.run("bulk", "cancel", "--from", "nowhere", "--reason", "x")).code == 2
