"""A note from the command line, on the running system."""

from uuid import uuid4

from contracts.message import new_message_id
from tests.flows.conftest import anna, client, ordered, product, staff
from tests.flows.people import Person
from tests.kit.conftest import eventually
from tests.ops.cli import Cli, Ended

__all__ = ["anna", "client", "product", "staff"]


async def test_a_note_is_on_its_order(cli: Cli, anna: Person, product: str) -> None:
    order_id = (await ordered(anna, product))["order_id"]
    chosen = str(new_message_id())
    write = ("orders", "note", order_id, "lost [by] the courier", "--id", chosen)

    async def known() -> Ended:
        return await cli.run(*write)

    first = await eventually(known, lambda ended: ended.code != 3)
    assert first.code == 0, first.err
    assert (await cli.run(*write, "--json")).json["written_by"] == "naledi"
    shown = await cli.run("orders", "show", order_id)
    assert shown.out.count("lost [by] the courier") == 1
    assert (await cli.run("orders", "show", order_id, "--json")).json["notes"][0]["id"] == chosen

    other = await cli.run("orders", "note", order_id, "something else", "--id", chosen)
    assert (other.code, "is another note" in other.err) == (2, True)
    assert (await cli.run("orders", "note", str(uuid4()), "x")).code == 3
    assert (await cli.run("orders", "note", order_id, " ")).code == 2
    assert (await cli.run("orders", "note", order_id, "x", role="viewer")).code == 4
