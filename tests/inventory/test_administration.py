"""Staff put, remove and restock products: each command is answered, and the catalogue hears."""

from uuid import UUID, uuid4

from contracts.audit import InventoryAudited, StockMove
from contracts.inventory import (
    ProductCommandDone,
    ProductUpdated,
    RemoveProduct,
    StockRejected,
    StockReserved,
)
from contracts.message import Message
from tests.inventory.conftest import Shop, adjust, only, put, reserve


def remove(product_id: UUID) -> RemoveProduct:
    return RemoveProduct(product_id=product_id, requested_by="thandi")


async def done(shop: Shop, command: Message) -> ProductCommandDone:
    [answer] = only(ProductCommandDone, await shop.hear(command))
    return answer


async def test_a_new_product_has_no_stock(shop: Shop) -> None:
    product_id = uuid4()
    sent = await shop.hear(put(product_id, name="Lily", low_stock_threshold=3))
    [answer] = only(ProductCommandDone, sent)
    assert answer.command_id == shop.heard[0]
    assert answer.problem is None
    assert answer.product is not None
    assert answer.product.stock_quantity == 0
    assert answer.product.low_stock_threshold == 3
    [update] = only(ProductUpdated, sent)
    assert (update.name, update.version, update.removed) == ("Lily", 1, False)
    [audit] = only(InventoryAudited, sent)
    assert (audit.action, audit.product_id, audit.changed_by) == (
        "product_put",
        product_id,
        "thandi",
    )


async def test_putting_again_leaves_the_stock(shop: Shop) -> None:
    product_id = await shop.product(7)
    answer = await done(shop, put(product_id, name="Rose", price=99, available=False))
    assert answer.product is not None
    assert (answer.product.name, answer.product.price, answer.product.available) == (
        "Rose",
        99,
        False,
    )
    assert (answer.product.stock_quantity, answer.product.version) == (7, 3)
    [rejected] = only(StockRejected, await shop.hear(reserve({product_id: 1})))
    assert rejected.problems[0].message == "Rose is no longer available"


async def test_a_removed_product_is_gone_until_it_is_put_again(shop: Shop) -> None:
    product_id = await shop.product(7)
    sent = await shop.hear(remove(product_id))
    assert only(ProductUpdated, sent)[0].removed
    assert only(InventoryAudited, sent)[0].action == "product_removed"
    [rejected] = only(StockRejected, await shop.hear(reserve({product_id: 1})))
    assert rejected.problems[0].message == "Product no longer available"

    for command in (remove(product_id), adjust(product_id, 1), remove(uuid4())):
        sent = await shop.hear(command)
        [answer] = sent  # refused: nothing changed, nobody else hears
        assert isinstance(answer, ProductCommandDone)
        assert answer.product is None
        assert answer.problem is not None
        assert answer.problem.code == "not_found"

    answer = await done(shop, put(product_id))
    assert answer.product is not None
    assert (answer.product.removed, answer.product.stock_quantity) == (False, 7)
    assert only(StockReserved, await shop.hear(reserve({product_id: 1})))


async def test_an_adjustment_is_booked_with_who_and_why(shop: Shop) -> None:
    product_id = await shop.product(7)
    sent = await shop.hear(adjust(product_id, -3, "broken in the post"))
    assert only(ProductUpdated, sent)[0].stock_quantity == 4
    [audit] = only(InventoryAudited, sent)
    assert audit.moves == (StockMove(product_id=product_id, quantity=-3),)
    movement = await shop.db.fetchrow(
        "SELECT * FROM stock_movements WHERE product_id = $1 ORDER BY id DESC LIMIT 1", product_id
    )
    assert movement is not None
    assert (movement["action"], movement["quantity"]) == ("adjusted", -3)
    assert (movement["reason"], movement["changed_by"]) == ("broken in the post", "thandi")
    await shop.assert_books_add_up()


async def test_stock_is_not_adjusted_below_zero(shop: Shop) -> None:
    product_id = await shop.product(7)
    answer = await done(shop, adjust(product_id, -8))
    assert answer.problem is not None
    assert answer.problem.code == "conflict"
    assert answer.problem.message == "Stock of Print is 7; it cannot be reduced by 8"
    assert await shop.stock(product_id) == 7


async def test_adjusting_by_nothing_is_done_without_a_movement(shop: Shop) -> None:
    product_id = await shop.product(0)
    sent = await shop.hear(adjust(product_id, 0))
    assert only(ProductCommandDone, sent)[0].problem is None
    assert only(InventoryAudited, sent)[0].moves == ()
    await shop.assert_books_add_up()


async def test_one_wave_of_everything(shop: Shop) -> None:
    one, two, three, new = [await shop.product(5) for _ in range(3)] + [uuid4()]
    sent = await shop.hear(adjust(one, 5), remove(two), put(three, price=5), put(new))
    answers = only(ProductCommandDone, sent)
    assert [answer.product_id for answer in answers] == [one, two, three, new]
    assert all(answer.problem is None for answer in answers)
    assert len(shop.statements) == 4
