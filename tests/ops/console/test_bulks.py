"""Many orders at once, and the refund of one, in the console: asked once, with true outcomes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.message import new_message_id
from contracts.order import CommandRefused, OrderStatus
from services.ops.console.words import minor_units
from tests.messages import outgoing
from tests.ops.conftest import Watch
from tests.ops.console.conftest import Seen, Somebody, updated
from tests.ops.console.test_orders import placed
from tests.ops.test_bulk import moved


async def asked_for(watch: Watch) -> list[tuple[Any, ...]]:
    """What was noted, with the orders of each."""
    rows = await watch.owner.fetch(
        """
        SELECT action, restock, amount, requested_by, reason,
               (SELECT count(*) FROM bulk_orders WHERE bulk_id = id) AS orders
          FROM bulks ORDER BY id
        """
    )
    return [tuple(row) for row in rows]


def choices(seen: Seen) -> list[bool]:
    """Of each order that can be chosen: whether it is."""
    return ["checked" in attrs for _, attrs in seen.elements if attrs.get("type") == "checkbox"]


def form(seen: Seen, orders: Sequence[str], **more: str) -> dict[str, Any]:
    return seen.hidden | {"order": list(orders)} | more


async def test_who_only_looks_is_offered_nothing_to_choose(watch: Watch, viewer: Somebody) -> None:
    ids = await placed(watch, 2, payment="paid")
    pages = ["/orders", f"/orders/{ids[0]}", f"/bulks/new?action=cancel&order={ids[0]}", "/bulks"]
    for path in pages:
        seen = await viewer.see(path)
        assert seen.status == 200
        posting = [attrs["action"] for tag, attrs in seen.elements if attrs.get("method") == "post"]
        assert posting == ["/console/sign-out"]
        assert choices(seen) == []
    fields = {"id": str(new_message_id()), "reason": "x", "order": ids, "how": "all"}
    for path in ("/bulks", f"/orders/{ids[0]}/refund"):
        refused = await viewer.post(path, csrf=seen.csrf, action="cancel", **fields)
        assert refused.status == 403
    assert await asked_for(watch) == []


async def test_orders_are_chosen_confirmed_and_asked_once(watch: Watch, admin: Somebody) -> None:
    first, second, third = await placed(watch, 3, status="confirmed")
    listed = await admin.see("/orders", status="confirmed")
    assert choices(listed) == [False] * 3
    (all_of_them,) = [link for link in listed.links if "all=1" in link]
    assert "status=confirmed" in all_of_them
    assert choices(await admin.see(all_of_them.removeprefix("/console"))) == [True] * 3

    chosen = await admin.see("/bulks/new", action="processing", order=[first, second])
    assert "Move 2 orders to processing?" in chosen.text
    assert third not in chosen.text
    fields = form(chosen, [first, second], reason=" packed ")
    asked = [await admin.post("/bulks", **fields) for _ in range(2)]
    assert {each.answer.headers["location"] for each in asked} == {f"/console/bulks/{fields['id']}"}
    assert await asked_for(watch) == [("processing", None, None, "naledi", "packed", 2)]

    address = f"/bulks/{fields['id']}"
    waits = await admin.see(address)
    assert "0 of 2 known" in waits.text
    bars = [attrs for tag, attrs in waits.elements if tag == "progress"]
    assert [(bar["max"], bar["value"]) for bar in bars] == [("2", "0")]
    commands = {
        str(row["order_id"]): str(row["command_id"])
        for row in await watch.owner.fetch("SELECT order_id, command_id FROM bulk_orders")
    }
    no = CommandRefused(
        order_id=UUID(second),
        command="order.change-order-status.v1",
        requested_by="naledi",
        reason="not from this status",
        status=OrderStatus.CANCELLED,
    )
    await watch.hears(
        outgoing(moved(UUID(first)))._replace(causation_id=commands[first]),
        outgoing(no)._replace(causation_id=commands[second]),
        updated(UUID(first), version=2, status="processing"),
    )
    part = Seen(await admin.client.get(f"/console{address}", headers={"HX-Request": "true"}))
    assert "<html" not in part.answer.text
    for known in (part, await admin.see(address)):
        assert "2 of 2 known, 1 refused" in known.text
        assert f"{first} accepted processing" in known.text
        assert f"{second} refused not from this status confirmed" in known.text


async def test_what_is_not_complete_asks_nothing(watch: Watch, admin: Somebody) -> None:
    (order,) = await placed(watch, 1)
    page = await admin.see("/bulks/new", action="cancel", order=[order])
    good = form(page, [order], reason="recall")
    for reason in ("", "  ", "x" * 501):
        again = await admin.post("/bulks", **good | {"reason": reason})
        assert (again.status, again.marked) == (422, ["reason"])
        assert order in again.text
    wrong: dict[str, Any]
    for wrong in (
        *({"order": []}, {"order": ["x"]}, {"order": [order] * 201}),
        *({"action": "burn"}, {"id": ""}, {"restock": "maybe"}),
    ):
        assert (await admin.post("/bulks", **good | wrong)).status == 400
    assert (await admin.post("/bulks", **good | {"order": [str(uuid4()), order]})).status == 404
    assert await asked_for(watch) == []
    many = await admin.see("/bulks/new", action="cancel", order=[order] * 201)
    assert many.status == 404
    assert "No order is chosen" in (await admin.see("/bulks/new", action="cancel")).text
    partly = await admin.see("/bulks/new", action="cancel", order=[order, str(uuid4())])
    assert "1 of those that were chosen is not known here" in partly.text
    assert (await admin.see(f"/bulks/{uuid4()}")).status == 404


async def test_a_form_that_says_something_else_under_its_old_id_is_told(
    watch: Watch, admin: Somebody
) -> None:
    first, second = await placed(watch, 2)
    fields = form(await admin.see("/bulks/new", action="cancel", order=[first]), [first])
    assert (await admin.post("/bulks", **fields, reason="recall")).status == 303
    other = await admin.post("/bulks", **fields | {"order": [second], "reason": "recall"})
    assert other.status == 422
    assert "said something else then" in other.text
    assert other.hidden["id"] != fields["id"]
    assert len(await asked_for(watch)) == 1


async def test_every_bulk_is_on_one_page_only(watch: Watch, viewer: Somebody) -> None:
    assert "No bulks" in (await viewer.see("/bulks")).text
    ids = [new_message_id() for _ in range(110)]
    await watch.owner.execute(
        """
        INSERT INTO bulks (id, action, requested_by, reason, requested_at)
        SELECT id, 'cancel', 'naledi', 'recall', now() FROM unnest($1::uuid[]) AS made (id)
        """,
        ids,
    )
    found, address = [], "/bulks"
    while address:
        seen = await viewer.see(address)
        found += [link for link in seen.links if link.startswith("/console/bulks/")]
        address = next((link for link in seen.links if "before=" in link), "")
        address = address.removeprefix("/console")
    assert found == [f"/console/bulks/{each}" for each in sorted(ids, reverse=True)]


# -- the refund of one ---------------------------------------------------------------------------


async def test_a_part_is_refunded_once(watch: Watch, admin: Somebody) -> None:
    (order,) = await placed(watch, 1, status="shipped", payment="paid")
    page = await admin.see(f"/orders/{order}")
    assert "All that is left, R120.00" in page.text
    written = {"how": "part", "amount": "40.50", "restock": "yes", "reason": "a scratch"}
    fields = page.hidden | written
    asked = [await admin.post(f"/orders/{order}/refund", **fields) for _ in range(2)]
    assert {each.answer.headers["location"] for each in asked} == {f"/console/bulks/{fields['id']}"}
    # Of a part the goods stay where they are, whatever the form said.
    assert await asked_for(watch) == [("refund", None, 4050, "naledi", "a scratch", 1)]
    shown = await admin.see(f"/bulks/{fields['id']}")
    assert "Refund 1 order" in shown.text
    assert "R40.50" in shown.text
    assert "no answer yet" in shown.text


@pytest.mark.parametrize(("chosen", "restock"), [("", None), ("yes", True), ("no", False)])
async def test_all_that_is_left_is_refunded_with_or_without_the_goods(
    watch: Watch, admin: Somebody, chosen: str, restock: bool | None
) -> None:
    (order,) = await placed(watch, 1, status="confirmed", payment="paid")
    page = await admin.see(f"/orders/{order}")
    written = {"how": "all", "amount": "", "restock": chosen, "reason": "sent back"}
    assert (await admin.post(f"/orders/{order}/refund", **page.hidden | written)).status == 303
    assert await asked_for(watch) == [("refund", restock, None, "naledi", "sent back", 1)]


@pytest.mark.parametrize(
    ("wrong", "marked"),
    [
        ({"how": ""}, []),
        ({"how": "all", "amount": "5"}, ["amount"]),
        *(
            ({"amount": each}, ["amount"])
            for each in ("", "0", "-1", "120.01", "1.234", "1,50", "five", "²", "9" * 40)
        ),
        ({"reason": " "}, ["reason"]),
    ],
)
async def test_a_refund_that_cannot_be_is_said_at_its_field(
    watch: Watch, admin: Somebody, wrong: dict[str, str], marked: list[str]
) -> None:
    (order,) = await placed(watch, 1, status="confirmed", payment="paid")
    page = await admin.see(f"/orders/{order}")
    fields = page.hidden | {"how": "part", "amount": "40", "restock": "", "reason": "x"} | wrong
    seen = await admin.post(f"/orders/{order}/refund", **fields)
    assert (seen.status, seen.marked) == (422, marked)
    assert [attrs for _, attrs in seen.elements if attrs.get("class") == "problem"]
    assert await asked_for(watch) == []


async def test_what_was_given_back_before_is_not_offered_again(
    watch: Watch, admin: Somebody
) -> None:
    order_id = new_message_id()
    told = updated(order_id, status="shipped", payment="partially_refunded")
    await watch.hears(told.model_copy(update={"amount_refunded": 10000}))
    page = await admin.see(f"/orders/{order_id}")
    assert "All that is left, R20.00" in page.text
    fields = page.hidden | {"how": "part", "restock": "", "reason": "a scratch"}
    seen = await admin.post(f"/orders/{order_id}/refund", **fields, amount="20.01")
    assert (seen.status, seen.marked) == (422, ["amount"])
    assert "R20.00 is left" in seen.text
    assert await asked_for(watch) == []
    assert (await admin.post(f"/orders/{order_id}/refund", **fields, amount="20")).status == 303


async def test_an_order_that_was_not_paid_offers_no_refund(watch: Watch, admin: Somebody) -> None:
    (order,) = await placed(watch, 1)
    page = await admin.see(f"/orders/{order}")
    actions = [attrs["action"] for tag, attrs in page.elements if tag == "form"]
    assert f"/console/orders/{order}/refund" not in actions
    fields = page.hidden | {"id": str(new_message_id()), "how": "part", "amount": "5"}
    seen = await admin.post(f"/orders/{order}/refund", **fields, restock="", reason="x")
    assert seen.status == 422
    assert "Nothing is known here that could be refunded" in seen.text


@pytest.mark.parametrize(
    ("written", "currency", "expected"),
    [
        *(("12", "zar", 1200), ("12.", "eur", 1200), ("0.05", "eur", 5)),
        *(("12", "jpy", 12), ("12.5", "jpy", None), ("1.234", "kwd", 1234)),
    ],
)
def test_amounts_are_read_as_their_currency_writes_them(
    written: str, currency: str, expected: int | None
) -> None:
    assert minor_units(written, currency) == expected
