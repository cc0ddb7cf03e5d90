"""Sagas in the console: how an order waits, and its next try now."""

from uuid import uuid4

from contracts.message import new_message_id
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import Seen, Somebody
from tests.ops.test_sagas import waits


def new_id(seen: Seen) -> str:
    return next(attrs["value"] or "" for _, attrs in seen.elements if attrs.get("name") == "id")


async def asked_for(watch: Watch) -> list[tuple[str, str, str]]:
    rows = await watch.owner.fetch("SELECT action, requested_by, reason FROM bulks")
    return [tuple(row) for row in rows]


async def test_rounds_and_the_next_try_show(watch: Watch, viewer: Somebody) -> None:
    placed = history(versions=1)[0]
    told = waits(placed, 3)
    await watch.hears(placed, told)
    for path in ("/sagas", f"/sagas/{placed.order_id}"):
        assert f"{told.next_try_at:%Y-%m-%d %H:%M:%S}" in (await viewer.see(path)).text
    assert "3 rounds without an answer" in (await viewer.see(f"/orders/{placed.order_id}")).text


async def test_who_only_looks_is_offered_nothing_to_do(watch: Watch, viewer: Somebody) -> None:
    placed = history(versions=1)[0]
    await watch.hears(placed)
    seen = await viewer.see(f"/sagas/{placed.order_id}")
    assert "inventory: StockReserved" in seen.text
    actions = [attrs["action"] for tag, attrs in seen.elements if tag == "form"]
    assert actions == ["/console/sign-out"]


async def test_a_retry_is_asked_once_and_says_what_came_of_it(
    watch: Watch, admin: Somebody
) -> None:
    placed = history(versions=1)[0]
    await watch.hears(placed)
    page = await admin.see(f"/sagas/{placed.order_id}")
    fields = {"csrf": page.csrf, "id": new_id(page), "reason": " inventory is back "}
    retry = f"/sagas/{placed.order_id}/retry"
    sent = await admin.post(retry, **fields)
    assert sent.status == 303
    assert (await admin.post(retry, **fields)).status == 303
    assert await asked_for(watch) == [("retry", "naledi", "inventory is back")]
    where = sent.answer.headers["location"].removeprefix("/console")
    assert "no answer yet" in (await admin.see(where)).text

    command = await watch.owner.fetchval("SELECT command_id FROM bulk_orders")
    asked = waits(placed, 1, requested_by="naledi", reason="inventory is back")
    await watch.hears(outgoing(asked)._replace(causation_id=str(command)))
    seen = await admin.see(where)
    assert "It was asked for again" in seen.text
    assert not [attrs for _, attrs in seen.elements if "hx-trigger" in attrs]
    part = await admin.see(f"{where}&part=true")
    assert "<html" not in part.answer.text


async def test_a_retry_needs_a_reason_and_our_form(watch: Watch, admin: Somebody) -> None:
    placed = history(versions=1)[0]
    await watch.hears(placed)
    page = await admin.see(f"/sagas/{placed.order_id}")
    retry = f"/sagas/{placed.order_id}/retry"
    for reason in ("", "  ", "x" * 501):
        seen = await admin.post(retry, csrf=page.csrf, id=new_id(page), reason=reason)
        assert seen.status == 422
        assert "Say why" in seen.text
    assert (await admin.post(retry, csrf="", id=new_id(page), reason="x")).status == 403
    assert (await admin.post(retry, csrf=page.csrf, id="x", reason="x")).status == 400
    assert await asked_for(watch) == []


async def test_an_order_that_waits_for_nothing_has_no_form(watch: Watch, admin: Somebody) -> None:
    told = history()
    await watch.hears(*told)
    seen = await admin.see(f"/sagas/{told[0].order_id}")
    assert "Retry now" not in seen.text
    assert (await admin.see(f"/sagas/{uuid4()}")).status == 404
    assert (await admin.see(f"/sagas/{told[0].order_id}", asked=new_message_id())).status == 404
