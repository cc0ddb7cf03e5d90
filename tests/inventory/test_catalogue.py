"""The catalogue gets the newest version: at once when it can, soon when a product is hot."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from contracts.inventory import ProductUpdated
from services.inventory import handlers
from services.inventory.catalogue import publish_catalog
from services.kit.work import Work
from tests.inventory.conftest import Shop, adjust, only, put, reserve, restore


async def tick(
    shop: Shop, product_id: UUID, *, later: timedelta = timedelta(0), waiting: bool = False
) -> list[int]:
    """Let the timer run, so much later; returns the stock levels that it publishes."""
    async with shop.db.transaction():
        if waiting:
            await shop.db.execute(
                """
                INSERT INTO outbox (id, messages, created_at)
                VALUES ($1, '[]', now() - interval '6 s')
                """,
                uuid4(),
            )
        work = Work(shop.db, "inventory")
        work.now += later
        await publish_catalog(work)
        if waiting:
            await shop.db.execute("DELETE FROM outbox")
    updates = [ProductUpdated.model_validate_json(sent.payload) for sent in work.outgoing]
    return [update.stock_quantity for update in updates if update.product_id == product_id]


def published(sent: list[ProductUpdated]) -> list[int]:
    return [update.stock_quantity for update in sent]


@pytest.fixture
def flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every batch counts as one that changes many products."""
    monkeypatch.setattr(handlers, "FEW_PRODUCTS", 0)


async def test_a_batch_that_changes_few_products_publishes_them_at_once(shop: Shop) -> None:
    lily = await shop.product(9)
    for left in (8, 7, 6):
        assert published(only(ProductUpdated, await shop.hear(reserve({lily: 1})))) == [left]


@pytest.mark.usefixtures("flood")
async def test_the_first_change_is_published_with_its_batch_later_ones_by_the_timer(
    shop: Shop,
) -> None:
    lily = await shop.product(9)
    levels = [
        published(only(ProductUpdated, await shop.hear(reserve({lily: 1})))) for _ in range(3)
    ]
    assert levels == [[8], [], []]
    assert await tick(shop, lily) == [6]
    assert await tick(shop, lily) == []


async def test_a_batch_publishes_again_when_the_last_time_is_long_enough_ago(shop: Shop) -> None:
    lily = await shop.product(9)
    command = reserve({lily: 1})
    assert published(only(ProductUpdated, await shop.hear(command))) == [8]
    await shop.db.execute(
        "UPDATE products SET stock_published_at = now() - interval '0.6 s' WHERE id = $1", lily
    )
    assert published(only(ProductUpdated, await shop.hear(restore(command.order_id)))) == [9]
    assert await tick(shop, lily) == []


@pytest.mark.usefixtures("flood")
async def test_staff_publish_at_once_and_do_not_count(shop: Shop) -> None:
    lily = await shop.product(9)
    assert published(only(ProductUpdated, await shop.hear(adjust(lily, 1)))) == [10]
    assert published(only(ProductUpdated, await shop.hear(reserve({lily: 1})))) == [9]
    assert published(only(ProductUpdated, await shop.hear(reserve({lily: 1})))) == []
    assert published(only(ProductUpdated, await shop.hear(put(lily)))) == [8]
    assert await tick(shop, lily) == []


@pytest.mark.usefixtures("flood")
async def test_a_quiet_product_is_published_once_more_when_nothing_of_it_waits(
    shop: Shop,
) -> None:
    lily = await shop.product(9)
    later = timedelta(seconds=11)
    await shop.hear(reserve({lily: 1}))
    await shop.hear(reserve({lily: 1}))
    assert await tick(shop, lily) == [7]
    assert await tick(shop, lily) == []
    assert await tick(shop, lily, later=later, waiting=True) == []
    assert await tick(shop, lily, later=later) == [7]
    assert await tick(shop, lily, later=2 * later) == []


async def test_changes_by_plain_sql_are_published_too(shop: Shop) -> None:
    lily = await shop.product(9)
    await shop.db.execute("UPDATE products SET price = 1 WHERE id = $1", lily)
    assert await tick(shop, lily) == [9]
    await shop.db.execute("SELECT reserve_product_stock($1, 2)", lily)
    assert await tick(shop, lily) == [7]


async def test_versions_grow_with_every_change(shop: Shop) -> None:
    lily = await shop.product(9)
    before = (await shop.row(lily))["version"]
    sent = await shop.hear(reserve({lily: 1}), reserve({lily: 1}))
    assert only(ProductUpdated, sent)[0].version == before + 1
    assert only(ProductUpdated, await shop.hear(put(lily)))[0].version == before + 2


async def test_a_product_that_no_message_can_describe_holds_up_no_other(shop: Shop) -> None:
    first, culprit, last = [await shop.product(9) for _ in range(3)]
    await shop.db.execute("ALTER TABLE products DROP CONSTRAINT price_positive")
    await shop.db.execute("UPDATE products SET price = -1 WHERE id = $1", culprit)
    await shop.db.execute(
        "UPDATE products SET name = 'edited' WHERE id = ANY($1)", [first, culprit, last]
    )
    assert await tick(shop, culprit) == []
    assert (await shop.row(first))["published_version"] == (await shop.row(first))["version"]
    assert (await shop.row(last))["published_version"] == (await shop.row(last))["version"]
    assert not (await shop.row(culprit))["settled"]  # it is tried again when it has been quiet
    await shop.db.execute("UPDATE products SET price = 5 WHERE id = $1", culprit)
    assert await tick(shop, culprit) == [9]  # and at once when it changes
    await shop.db.execute(
        "ALTER TABLE products ADD CONSTRAINT price_positive CHECK (price > 0)"  # one for all tests
    )
