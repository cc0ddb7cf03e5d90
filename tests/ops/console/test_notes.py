"""Notes in the console: on the order's page, written by its form."""

from uuid import uuid4

from contracts.message import new_message_id
from services.ops.noting import LONGEST_NOTE
from services.ops.store.notes import find_of_order
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import Somebody
from tests.ops.console.test_sagas import new_id


async def test_a_note_is_written_once_and_shown_as_text(watch: Watch, admin: Somebody) -> None:
    order_id = uuid4()
    await watch.hears(*history(order_id))
    page = await admin.see(f"/orders/{order_id}")
    fields = {"csrf": page.csrf, "id": new_id(page), "text": "<b>lost</b>\r\nby the courier"}
    for _ in range(2):
        sent = await admin.post(f"/orders/{order_id}/notes", **fields)
        assert sent.status == 303
    assert sent.answer.headers["location"] == f"/console/orders/{order_id}#notes"
    other = await admin.post(f"/orders/{order_id}/notes", **fields | {"text": "found"})
    assert other.status == 422
    assert "This form was sent before, and said something else then" in other.text
    assert "found" in other.text
    (kept,) = await find_of_order(watch.pool, order_id, 10)
    assert (kept["text"], kept["written_by"]) == ("<b>lost</b>\nby the courier", "naledi")
    for path in (f"/orders/{order_id}", f"/orders/{order_id}/now"):
        seen = await admin.see(path)
        assert "<b>lost</b> by the courier" in seen.text
        assert not [tag for tag, _ in seen.elements if tag == "b"]


async def test_what_is_no_note_is_told_and_not_lost(watch: Watch, admin: Somebody) -> None:
    order_id = uuid4()
    await watch.hears(*history(order_id))
    page = await admin.see(f"/orders/{order_id}")
    address = f"/orders/{order_id}/notes"
    for text in ("", "   ", "x" * (LONGEST_NOTE + 1)):
        seen = await admin.post(address, csrf=page.csrf, id=new_id(page), text=text)
        assert seen.status == 422
        assert [attrs for _, attrs in seen.elements if "aria-invalid" in attrs]
        assert text.strip() in seen.text
    assert (await admin.post(address, csrf="", id=new_id(page), text="x")).status == 403
    assert (await admin.post(address, csrf=page.csrf, id="x", text="x")).status == 400
    assert await find_of_order(watch.pool, order_id, 10) == []


async def test_who_only_looks_reads_notes_and_writes_none(watch: Watch, viewer: Somebody) -> None:
    order_id = uuid4()
    await watch.hears(*history(order_id))
    seen = await viewer.see(f"/orders/{order_id}")
    assert not [tag for tag, _ in seen.elements if tag == "textarea"]
    address = f"/orders/{order_id}/notes"
    refused = await viewer.post(address, csrf=seen.csrf, id=str(new_message_id()), text="x")
    assert refused.status == 403
