"""Stock in the console: the report, a product over time, and adjustments that are done once."""

from uuid import UUID, uuid4

import pytest

from contracts.inventory import ProductCommandDone
from contracts.message import new_message_id
from contracts.order import Problem
from services.kit.work import utc_now
from tests.ops.conftest import Watch
from tests.ops.console.conftest import Somebody
from tests.ops.console.test_orders import HOSTILE
from tests.ops.stock import adjusted, audited, told


def listed(links: list[str]) -> list[str]:
    return [link.rpartition("/")[2] for link in links if link.startswith("/console/stock/")]


async def asked_for(watch: Watch) -> list[tuple[UUID, int, str, str]]:
    rows = await watch.owner.fetch(
        "SELECT product_id, delta, requested_by, reason FROM stock_adjustments ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_a_shop_without_products_says_so(viewer: Somebody) -> None:
    assert "No products yet" in (await viewer.see("/stock")).text
    assert "Nothing is low" in (await viewer.see("/stock", low="true")).text
    assert "No such product" in (await viewer.see("/stock", q="lily")).text
    assert (await viewer.see(f"/stock/{uuid4()}")).status == 404


async def test_the_report_marks_what_is_low_and_shows_that_alone(
    watch: Watch, viewer: Somebody
) -> None:
    lily, oak = uuid4(), uuid4()
    await watch.hears(
        told(lily, 1, 2, name="Lily, watercolour"),
        told(oak, 1, 70, name="Oak frame"),
        adjusted(lily, 7, utc_now()),
    )
    order_id = uuid4()
    for action in ("reserved", "committed"):
        await watch.hears(audited(action, order_id, {lily: 5}, utc_now()))
    await watch.counts()
    both = await viewer.see("/stock")
    assert set(listed(both.links)) == {str(lily), str(oak)}
    assert "Lily, watercolour low 2 0 5 5.00 0.4 days" in both.text
    low = await viewer.see("/stock", low="true")
    assert listed(low.links) == [str(lily)]
    assert listed((await viewer.see("/stock", q="oak FR")).links) == [str(oak)]


async def test_every_product_is_on_one_page_only(watch: Watch, viewer: Somebody) -> None:
    ids = sorted(uuid4() for _ in range(110))
    await watch.hears(*(told(each, 1, 1, name="Print & frame") for each in ids))
    await watch.hears(*(told(uuid4(), 1, 100, name="Print & frame") for _ in range(9)))
    found, address, pages = [], "/stock?q=print+%26&low=true", 0
    while address:
        seen = await viewer.see(address)
        found += listed(seen.links)
        address = next((link for link in seen.links if "after=" in link), "")
        address = address.removeprefix("/console")
        pages += 1
    assert pages == 3
    assert found == [str(each) for each in ids]


async def test_a_product_shows_what_moved_as_a_drawing_and_as_a_table(
    watch: Watch, viewer: Somebody
) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4, name=HOSTILE), adjusted(lily, 7, utc_now()))
    for action in ("reserved", "committed"):
        await watch.hears(audited(action, lily, {lily: 3}, utc_now()))
    await watch.counts()
    for path in (f"/stock/{lily}", f"/stock/{lily}/now", f"/stock/{lily}?days=90"):
        seen = await viewer.see(path)
        (drawing,) = [attrs for _, attrs in seen.elements if attrs.get("role") == "img"]
        assert "3 sold, level 4" in (drawing["aria-label"] or "")
        assert f"{utc_now():%Y-%m-%d} 7 3 3 4 " in seen.text
        assert HOSTILE in seen.text
        assert not [attrs for _, attrs in seen.elements if "onerror" in attrs or "style" in attrs]
    assert (await viewer.see(f"/stock/{lily}?days=400")).status == 404


async def test_who_only_looks_is_offered_no_adjustment(watch: Watch, viewer: Somebody) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4))
    seen = await viewer.see(f"/stock/{lily}")
    actions = [attrs["action"] for tag, attrs in seen.elements if tag == "form"]
    assert actions == ["/console/sign-out"]
    fields = {"csrf": seen.csrf, "id": str(new_message_id()), "delta": "5", "reason": "found"}
    assert (await viewer.post(f"/stock/{lily}/adjust", **fields)).status == 403
    assert await asked_for(watch) == []


async def test_an_adjustment_is_asked_for_once_and_shows_what_really_came_of_it(
    watch: Watch, admin: Somebody
) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4))
    page = await admin.see(f"/stock/{lily}")
    fields = page.hidden | {"delta": "-6", "reason": " broken "}
    first = await admin.post(f"/stock/{lily}/adjust", **fields)
    again = await admin.post(f"/stock/{lily}/adjust", **fields)
    assert first.status == again.status == 303
    address = first.answer.headers["location"].removeprefix("/console")
    assert again.answer.headers["location"] == f"/console{address}"
    assert await asked_for(watch) == [(lily, -6, "naledi", "broken")]
    assert (await admin.see(f"/stock/{lily}")).hidden["id"] != fields["id"]

    waits = await admin.see(address)
    assert "no answer yet" in waits.text
    assert [attrs for _, attrs in waits.elements if "hx-trigger" in attrs]
    refusal = Problem(code="insufficient_stock", message="it cannot be reduced by 6")
    command = UUID(fields["id"])
    await watch.hears(ProductCommandDone(command_id=command, product_id=lily, problem=refusal))
    known = await admin.see(address)
    assert "Nothing was changed: it cannot be reduced by 6" in known.text
    assert not [attrs for _, attrs in known.elements if "hx-trigger" in attrs]
    assert "refused it cannot be reduced by 6 naledi broken" in (
        (await admin.see(f"/stock/{lily}")).text
    )


async def test_a_form_that_says_something_else_under_its_old_id_is_told(
    watch: Watch, admin: Somebody
) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4))
    fields = (await admin.see(f"/stock/{lily}")).hidden | {"delta": "5", "reason": "found"}
    assert (await admin.post(f"/stock/{lily}/adjust", **fields)).status == 303
    other = await admin.post(f"/stock/{lily}/adjust", **fields | {"delta": "6"})
    assert other.status == 422
    assert "said something else then" in other.text
    # What is shown has a new id: sent once more, it is another adjustment.
    once_more = other.hidden | {"delta": "6", "reason": "found"}
    assert (await admin.post(f"/stock/{lily}/adjust", **once_more)).status == 303
    assert [row[1] for row in await asked_for(watch)] == [5, 6]
    old = await admin.post(
        f"/stock/{lily}/adjust", **fields | {"id": "0190a3b2-7c4d-7e8f-9a0b-000000000002"}
    )
    assert old.status == 422
    assert "open for longer than a day" in old.text


@pytest.mark.parametrize(
    ("field", "written"),
    [
        *(("delta", each) for each in ("", "0", "five", "1.5", "--5", "²", "1000000001")),
        *(("reason", each) for each in ("", "  ", "x" * 501)),
    ],
)
async def test_what_cannot_be_asked_for_is_said_at_its_field(
    watch: Watch, admin: Somebody, field: str, written: str
) -> None:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4))
    page = await admin.see(f"/stock/{lily}")
    fields = page.hidden | {"delta": "+5", "reason": "found"} | {field: written}
    seen = await admin.post(f"/stock/{lily}/adjust", **fields)
    assert seen.status == 422
    assert seen.marked == [field]
    assert await asked_for(watch) == []
