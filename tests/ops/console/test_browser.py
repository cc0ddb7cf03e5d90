"""The console in a real browser: looking, acting by clicks, keyboard, width, policy."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser, Page, expect

from contracts.inventory import Product, ProductCommandDone, ReserveStock
from contracts.message import new_message_id
from contracts.order import CartLine
from services.kit.work import utc_now
from tests.kit.conftest import eventually
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.console.browser import Tab, launched, served
from tests.ops.console.conftest import updated
from tests.ops.console.test_orders import placed
from tests.ops.stock import adjusted, audited, told
from tests.ops.test_bulk import moved
from tests.ops.test_observing import letter

REACHABLE = "a[href], button, input:not([type=hidden]), textarea, select, summary, [tabindex='0']"
UNFOLD = "document.querySelectorAll('details').forEach((each) => (each.open = true))"
LONG = "Averylongnamewithoutanyspace" * 4


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture
async def tab(chromium: Browser, console: FastAPI) -> AsyncIterator[Tab]:
    async with served(console) as address:
        context = await chromium.new_context(viewport={"width": 1400, "height": 900})
        yield await Tab.open(context, address)
        await context.close()


async def with_story(watch: Watch) -> str:
    """An order of which there is something to see."""
    order_id = new_message_id()
    line = CartLine(product_id=uuid4(), quantity=1)
    cause = outgoing(ReserveStock(order_id=order_id, lines=(line,)))._replace(source="order")
    effect = outgoing(updated(order_id, version=2, status="confirmed", payment="paid"))
    effect = effect._replace(causation_id=str(cause.message_id), source="order")
    await watch.hears(*history(order_id), cause, effect)
    return str(order_id)


async def with_stock(watch: Watch, name: str = "Lily, watercolour") -> UUID:
    lily = uuid4()
    await watch.hears(told(lily, 1, 4, name=name), adjusted(lily, 7, utc_now()))
    for action in ("reserved", "committed"):
        await watch.hears(audited(action, lily, {lily: 3}, utc_now()))
    await watch.counts()
    return lily


async def test_an_order_is_found_and_its_story_is_drawn(watch: Watch, tab: Tab) -> None:
    await placed(watch, 3)
    order = await with_story(watch)
    page = tab.page
    await tab.sign_in("vusi", "viewer")
    await page.get_by_role("link", name="Orders", exact=True).click()
    await page.get_by_label("Order id, PaymentIntent or customer").fill(order)
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text(order)
    drawing = page.get_by_role("img", name="Messages of the order")
    await expect(drawing.get_by_text("reserve-stock", exact=True)).to_be_visible()
    await expect(page.locator("#live")).to_have_attribute("data-state", "fresh")
    # What happens now shows by itself.
    await watch.hears(updated(UUID(order), version=3, status="processing", payment="paid"))
    await expect(drawing.get_by_text("order-updated: processing", exact=True)).to_be_visible()
    assert tab.complaints == []


async def test_a_cut_stream_is_called_stale(watch: Watch, tab: Tab) -> None:
    order = await with_story(watch)
    await tab.sign_in("vusi", "viewer")
    await tab.page.route("**/events", lambda route: route.abort())
    await tab.see(f"/orders/{order}")
    await expect(tab.page.locator("#live")).to_have_attribute("data-state", "stale")
    await expect(tab.page.locator("#live")).to_contain_text("Stale: not updated since")


async def test_stock_is_adjusted_by_hand(watch: Watch, tab: Tab) -> None:
    lily = await with_stock(watch)
    page = tab.page
    await tab.sign_in("naledi", "admin")
    await page.get_by_role("link", name="Stock", exact=True).click()
    await page.get_by_role("link", name="Lily, watercolour").click()
    await expect(page.get_by_role("img", name="3 sold, level 4")).to_be_visible()
    await page.get_by_text("Adjust the stock").click()
    await page.get_by_label("Pieces to add").fill("5")
    await page.get_by_label("Reason").fill("found in the cellar")
    await page.get_by_role("button", name="Adjust").dblclick()
    await expect(page.get_by_text("no answer yet")).to_be_visible()
    (asked,) = await watch.owner.fetch("SELECT id, delta, reason FROM stock_adjustments")
    assert (asked["delta"], asked["reason"]) == (5, "found in the cellar")
    now = Product(
        product_id=lily,
        version=2,
        name="Lily, watercolour",
        price=12000,
        currency="zar",
        available=True,
        stock_quantity=9,
    )
    await watch.hears(ProductCommandDone(product_id=lily, command_id=asked["id"], product=now))
    await expect(page.get_by_text("The level was 9 then")).to_be_visible()
    assert tab.complaints == []


async def test_orders_are_moved_along_by_hand(watch: Watch, tab: Tab) -> None:
    first, second, _ = await placed(watch, 3, status="confirmed", payment="paid")
    page = tab.page
    await tab.sign_in("naledi", "admin")
    await page.get_by_role("link", name="Orders", exact=True).click()
    await page.get_by_label(f"Order {first}").check()
    await page.get_by_label(f"Order {second}").check()
    await page.get_by_label("With the orders that are chosen").select_option("processing")
    await page.get_by_role("button", name="Go on").click()
    await page.get_by_label("Reason").fill("packed")
    await page.get_by_role("button", name="Move 2 orders to processing").dblclick()
    bar = page.get_by_role("progressbar", name="Orders with an outcome")
    await expect(bar).to_have_attribute("value", "0")
    assert await watch.owner.fetchval("SELECT count(*) FROM bulks") == 1
    for row in await watch.owner.fetch("SELECT order_id, command_id FROM bulk_orders"):
        answer = outgoing(moved(row["order_id"]))
        await watch.hears(answer._replace(causation_id=str(row["command_id"])))
    await expect(bar).to_have_attribute("value", "2")
    await expect(page.get_by_text("accepted", exact=True)).to_have_count(2)
    assert tab.complaints == []


async def test_the_keyboard_reaches_everything_and_shows_where_it_is(
    watch: Watch, tab: Tab
) -> None:
    await placed(watch, 2, status="confirmed", payment="paid")
    lily = await with_stock(watch)
    await tab.sign_in("naledi", "admin")
    for path in ("/orders", f"/stock/{lily}"):
        await tab.see(path)
        reachable = await numbered(tab.page)
        reached, invisible = set(), []
        for _ in range(2 * reachable):
            await tab.page.keyboard.press("Tab")
            number, outline = await tab.page.evaluate(
                """() => { const at = document.activeElement, style = getComputedStyle(at);
                           return [at.dataset.number || null, `${style.outlineStyle}
                                   ${style.outlineWidth}`.replace(/\\s+/g, " ")]; }"""
            )
            if number is None:  # once around
                break
            reached.add(int(number))
            if outline.startswith("none") or outline.endswith(" 0px"):
                invisible.append(number)
        assert reached == set(range(reachable)), path
        assert invisible == [], path


async def numbered(page: Page) -> int:
    """Number what can be seen and used; how many there are."""
    found: int = await page.evaluate(
        """(reachable) => {
             let number = 0;
             for (const each of document.querySelectorAll(reachable))
               if (each.checkVisibility({visibilityProperty: true}))
                 each.dataset.number = number++;
             return number; }""",
        REACHABLE,
    )
    return found


async def test_no_page_is_wider_than_its_window(watch: Watch, tab: Tab) -> None:
    orders = await placed(watch, 3, customer=LONG, status="confirmed", payment="paid")
    story = await with_story(watch)
    lily = await with_stock(watch, LONG)
    await watch.hears(letter(17, reason=LONG, source_key=LONG))
    await tab.sign_in("naledi", "admin")
    page = tab.page
    await tab.see(f"/bulks/new?action=refund&order={orders[0]}&order={orders[1]}")
    await page.get_by_label("Reason").fill(LONG)
    await page.get_by_role("button", name="Refund 2 orders").click()
    await expect(page.get_by_role("progressbar")).to_be_visible()
    bulk = page.url.rpartition("/")[2]
    await tab.see(f"/stock/{lily}")
    await page.get_by_text("Adjust the stock").click()
    await page.get_by_label("Pieces to add").fill("-5")
    await page.get_by_label("Reason").fill(LONG)
    await page.get_by_role("button", name="Adjust").click()
    await page.wait_for_url("**/adjustments/*")
    adjustment = page.url.rpartition("/")[2]
    paths = [
        *("/", "/orders", f"/orders/{story}", f"/orders/{orders[0]}", "/sagas", "/audit"),
        *("/bulks", f"/bulks/{bulk}", f"/bulks/new?action=cancel&order={orders[0]}"),
        *("/stock", f"/stock/{lily}", f"/stock/adjustments/{adjustment}"),
        *("/dead-letters", "/dead-letters/payment/17", "/nothing"),
    ]
    wide = []
    for width in (390, 1400):
        await page.set_viewport_size({"width": width, "height": 844})
        for path in paths:
            await tab.see(path)
            await page.evaluate(
                "document.querySelectorAll('details').forEach((it) => it.open = true)"
            )
            if await tab.width() > width:
                wide.append((width, path, await tab.width()))
    assert wide == []
    assert [said for said in tab.complaints if "404" not in said] == []


async def test_what_slipped_into_a_page_does_not_run(watch: Watch, tab: Tab) -> None:
    """And is complained of: so the other tests would notice something inline."""
    await tab.sign_in("vusi", "viewer")
    assert tab.complaints == []
    await tab.page.evaluate(
        """() => { const slipped = document.createElement("script");
                   slipped.textContent = "document.title = 'taken over'";
                   document.body.append(slipped);
                   document.body.insertAdjacentHTML("beforeend",
                     "<p style='position:fixed' onclick='1'>x</p>"); }"""
    )
    await expect(tab.page).to_have_title("Overview · Orderflow ops")

    async def refused() -> list[str]:
        return [said for said in tab.complaints if "Content Security Policy" in said]

    await eventually(refused, lambda seen: len(seen) >= 2)
