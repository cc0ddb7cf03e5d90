"""Orders in the console: found, listed page by page, and one of them with its story."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from contracts.inventory import ReserveStock
from contracts.message import new_message_id
from contracts.order import CartLine
from services.ops.console.words import id_at
from services.ops.store.timeline import count_news
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import Somebody, updated
from tests.ops.test_observing import letter

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'


async def placed(watch: Watch, many: int, **changes: Any) -> list[str]:
    """Orders one after the other, the newest first."""
    ids = [new_message_id() for _ in range(many)]
    await watch.hears(*(updated(each, **changes) for each in ids))
    return [str(each) for each in sorted(ids, reverse=True)]


def listed(links: list[str]) -> list[str]:
    return [
        link.rpartition("/")[2] for link in links if link.startswith("/console/orders/")
    ]  # the navigation's has no slash behind it


async def test_an_empty_shop_says_so(viewer: Somebody) -> None:
    seen = await viewer.see("/orders")
    assert seen.status == 200
    assert "No orders yet" in seen.text
    assert "No such order" in (await viewer.see("/orders", q="nobody")).text


async def test_every_order_is_on_one_page_only(watch: Watch, viewer: Somebody) -> None:
    ids = await placed(watch, 120)
    found, address, pages = [], "/orders", 0
    while address:
        seen = await viewer.see(address)
        found += listed(seen.links)
        address = next((link for link in seen.links if "before=" in link), "")
        address = address.removeprefix("/console")
        pages += 1
    assert pages == 3
    assert found == ids


async def test_a_page_keeps_what_was_searched_for(watch: Watch, viewer: Somebody) -> None:
    await placed(watch, 60, customer="o'hara & sons", status="cancelled")
    others = await placed(watch, 5, customer="o'hara & sons")
    seen = await viewer.see("/orders", q="o'hara & sons", status="cancelled")
    (older,) = [link for link in seen.links if "before=" in link]
    rest = await viewer.see(older.removeprefix("/console"))
    found = listed(seen.links) + listed(rest.links)
    assert len(set(found)) == 60
    assert not set(found) & set(others)


async def test_orders_are_found_by_their_time(watch: Watch, viewer: Somebody) -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    hours = {hour: UUID(int=id_at(noon + timedelta(hours=hour)).int + 7) for hour in range(-2, 3)}
    await watch.hears(*(updated(each) for each in hours.values()))
    seen = await viewer.see("/orders", **{"from": "2026-11-24T11:00", "to": "2026-11-24T13:00"})
    assert listed(seen.links) == [str(hours[0]), str(hours[-1])]


async def test_what_cannot_be_searched_for_is_said_at_its_field(viewer: Somebody) -> None:
    seen = await viewer.see("/orders", status="lost", **{"from": "yesterday"})
    assert seen.status == 400
    assert "There is no such status" in seen.text
    marked = {attrs["name"] for _, attrs in seen.elements if "aria-invalid" in attrs}
    assert marked == {"status", "from"}


async def test_an_id_leads_to_its_order(watch: Watch, viewer: Somebody) -> None:
    order_id, _ = await placed(watch, 2)
    await watch.owner.execute(
        "UPDATE orders SET payment_intent_id = 'pi_17' WHERE order_id = $1", UUID(order_id)
    )
    for name in (order_id, f" {order_id} ", "pi_17"):
        answer = (await viewer.see("/orders", q=name)).answer
        assert answer.headers["location"] == f"/console/orders/{order_id}"
    assert "No such order" in (await viewer.see("/orders", q=str(uuid4()))).text
    assert (await viewer.see(f"/orders/{uuid4()}")).status == 404


async def test_an_order_has_its_story_as_a_drawing_and_as_a_table(
    watch: Watch, viewer: Somebody
) -> None:
    order_id = new_message_id()
    line = CartLine(product_id=uuid4(), quantity=1)
    cause = outgoing(ReserveStock(order_id=order_id, lines=(line,)))._replace(source="order")
    effect = outgoing(updated(order_id, version=2, status="confirmed"))
    await watch.hears(
        *history(order_id),
        cause,
        effect._replace(causation_id=str(cause.message_id), source="order"),
    )
    seen = await viewer.see(f"/orders/{order_id}")
    assert seen.status == 200
    assert "R120.00" in seen.text
    lines = [attrs["id"] for tag, attrs in seen.elements if tag == "tr" and "id" in attrs]
    drawn = [attrs["id"] for tag, attrs in seen.elements if tag == "g"]
    assert len(lines) == 5  # three audit records and two messages
    assert set(drawn) <= {f"d{number}" for number in range(1, 6)}
    assert "pending → confirmed" in seen.text
    # The effect leads back to its cause, in the drawing and in the table.
    numbers = [place + 1 for place, each in enumerate(lines) if each]
    caused = {link for link in seen.links if link.startswith("#d")}
    assert len(caused) == 1
    assert caused <= {f"#d{number}" for number in numbers}
    assert f"#m{caused.pop()[2:]}" in seen.links


async def test_what_people_wrote_is_text_and_nothing_else(watch: Watch, viewer: Somebody) -> None:
    order_id = new_message_id()
    told = [
        each.model_copy(update={"changed_by": HOSTILE, "reason": HOSTILE, "action": HOSTILE})
        for each in history(order_id)
    ]
    parked = letter(7, reason=HOSTILE, message_type=HOSTILE, source_key=HOSTILE)
    await watch.hears(*told, parked, updated(order_id, customer=HOSTILE))
    showing = [
        *("/", "/orders", f"/orders/{order_id}", f"/orders/{order_id}/now", "/audit"),
        *("/dead-letters", "/dead-letters/payment/7"),
    ]
    shown = [await viewer.see(page) for page in showing]
    assert all(HOSTILE in each.text for each in shown)
    shown += [
        await viewer.see(f"/orders/{HOSTILE}"),
        await viewer.see("/orders", q=HOSTILE, status=HOSTILE, **{"from": HOSTILE}),
        await viewer.see("/dead-letters/cause", service="payment", cause=HOSTILE, type=HOSTILE),
    ]
    for each in shown:
        assert not [attrs for _, attrs in each.elements if "onerror" in attrs]
        scripts = [attrs.get("src") for tag, attrs in each.elements if tag == "script"]
        assert all(src and src.startswith("/console/static/") for src in scripts)


async def test_news_of_an_order_are_counted(watch: Watch) -> None:
    """What a live page looks at: whatever it shows makes it grow."""
    first, second, third = history()
    order_id, subject = first.order_id, [str(first.order_id)]
    counts = [await count_news(watch.pool, order_id, subject)]
    for sent in (first, second, updated(order_id), third):
        await watch.hears(sent)
        counts.append(await count_news(watch.pool, order_id, subject))
    assert counts == [0, 1, 2, 3, 4]
