"""`allocate`: never oversells, all or nothing, in order, and the books add up."""

from collections import Counter
from dataclasses import replace
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from contracts.inventory import MAX_STOCK, ReserveStock, RestoreStock
from contracts.order import CartLine, OrderItem
from services.inventory.rules import (
    CANCELLED,
    LockedProduct,
    Outcome,
    PutBack,
    Rejected,
    Request,
    Reserved,
    Restored,
    Take,
    allocate,
    refusal,
    request_of,
)
from tests.inventory.conftest import adjust, put

P2 = "Product out of stock. Another customer may have purchased it. Please try again."
IDS = [UUID(int=number) for number in range(4)]


def product(stock: int, product_id: UUID = IDS[0], **said: object) -> LockedProduct:
    plain = LockedProduct(product_id, "Lily", 12_000, "zar", True, False, stock, False)
    return replace(plain, **said)  # type: ignore[arg-type]


def take(*wanted: tuple[UUID, int], price: int | None = None) -> Take:
    lines = [CartLine(product_id=p, quantity=q, price=price) for p, q in wanted]
    return Take(uuid4(), lines, None)


def put_back(product_id: UUID, quantity: int) -> PutBack:
    item = OrderItem(product_id=product_id, name="Lily", quantity=quantity, price=1)
    return PutBack(uuid4(), (item,), "cancelled")


def decide(products: list[LockedProduct], *requests: Request) -> list[Outcome]:
    return list(allocate(products, requests, "test").outcomes.values())


def texts(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Rejected)
    return [problem.message for problem in outcome.problems]


# -- the texts of T2 and T3 --------------------------------------------------------------------


def test_more_than_there_is_reads_p1() -> None:
    [outcome] = decide([product(5)], take((IDS[0], 6)))
    assert texts(outcome) == ["Insufficient stock for Lily. Available: 5, Requested: 6"]


def test_the_loser_of_the_last_item_reads_p2_in_the_same_batch() -> None:
    winner, loser = decide([product(1)], take((IDS[0], 1)), take((IDS[0], 1)))
    assert isinstance(winner, Reserved)
    assert texts(loser) == [P2]


def test_the_loser_of_the_last_item_reads_p2_in_a_later_batch() -> None:
    first = allocate([product(1)], [take((IDS[0], 1))], "test")
    assert first.changes[0].sold_out
    [loser] = decide([product(0, sold_out=True)], take((IDS[0], 1)))
    assert texts(loser) == [P2]


def test_where_nobody_bought_the_last_one_p1_is_the_truth() -> None:
    [outcome] = decide([product(0)], take((IDS[0], 1)))
    assert texts(outcome) == ["Insufficient stock for Lily. Available: 0, Requested: 1"]


def test_some_left_but_too_few_reads_p1_with_what_is_left() -> None:
    _, outcome = decide([product(5)], take((IDS[0], 3)), take((IDS[0], 3)))
    assert texts(outcome) == ["Insufficient stock for Lily. Available: 2, Requested: 3"]


def test_stock_that_comes_back_is_there_for_the_next_in_line() -> None:
    sold_out = product(0, sold_out=True)
    before, back, after = decide(
        [sold_out], take((IDS[0], 1)), put_back(IDS[0], 1), take((IDS[0], 1))
    )
    assert texts(before) == [P2]
    assert isinstance(back, Restored)
    assert isinstance(after, Reserved)


# -- prices ------------------------------------------------------------------------------------


def test_the_products_price_is_charged_never_the_carts() -> None:
    [outcome] = decide([product(5)], take((IDS[0], 2), price=11_900))
    assert isinstance(outcome, Reserved)
    assert (outcome.items[0].price, outcome.total, outcome.currency) == (12_000, 24_000, "zar")


def test_a_price_that_moved_too_far_is_refused() -> None:
    [outcome] = decide([product(5)], take((IDS[0], 1), price=1))
    assert texts(outcome) == ["Price for Lily has changed. Was R0.01, now R120.00"]


def test_an_order_without_lines_is_refused() -> None:
    [outcome] = decide([], take())
    assert texts(outcome) == ["The order has no lines"]


# -- what holds always -------------------------------------------------------------------------

stocks = st.dictionaries(st.sampled_from(IDS), st.integers(0, 8), min_size=1)
wishes = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.sampled_from(IDS), st.integers(1, 5), min_size=1)),
    max_size=12,
)


@given(stocks, wishes)
def test_never_oversells_and_adds_up(
    stock: dict[UUID, int], wanted: list[tuple[bool, dict[UUID, int]]]
) -> None:
    products = [product(amount, product_id) for product_id, amount in stock.items()]
    untouched = [replace(one) for one in products]
    requests: list[Request] = [
        take(*lines.items())
        if takes or not lines.keys() <= stock.keys()
        else PutBack(uuid4(), [put_back(p, q).items[0] for p, q in lines.items()], "cancelled")
        for takes, lines in wanted
    ]
    allocation = allocate(products, requests, "test")
    assert products == untouched

    # A model that serves one order at a time: fair, all or nothing.
    left = Counter(stock)
    for request, (_, lines) in zip(requests, wanted, strict=True):
        outcome = allocation.outcomes[request.order_id]
        if isinstance(request, PutBack):
            left.update(lines)
        elif all(left[product_id] >= quantity for product_id, quantity in lines.items()):
            assert isinstance(outcome, Reserved)
            assert {item.product_id: item.quantity for item in outcome.items} == lines
            left.subtract(lines)
        else:
            assert isinstance(outcome, Rejected)
            assert {problem.product_id for problem in outcome.problems} == {
                product_id for product_id, quantity in lines.items() if left[product_id] < quantity
            }
        assert min(left.values()) >= 0

    moved: Counter[UUID] = Counter()
    for movement in allocation.movements:
        moved[movement.product_id] += movement.quantity
    changed = {change.product_id: change.delta for change in allocation.changes}
    assert changed == {product_id: delta for product_id, delta in moved.items() if delta}
    for product_id, before in stock.items():
        assert before + changed.get(product_id, 0) == left[product_id] >= 0


# -- commands that come again ------------------------------------------------------------------


def test_what_a_command_asks_for_depends_on_what_became_of_its_order() -> None:
    order_id = uuid4()
    line = CartLine(product_id=IDS[0], quantity=1)
    item = OrderItem(product_id=IDS[0], name="Lily", quantity=1, price=5)
    reserve = ReserveStock(order_id=order_id, lines=(line, line))
    restore = RestoreStock(order_id=order_id, reason="cancelled")
    reserved = Reserved(order_id, (item,), "zar")
    rejected = Rejected(order_id, ())
    restored = Restored(order_id)

    assert request_of(reserve, None) == Take(
        order_id, [CartLine(product_id=IDS[0], quantity=2)], None
    )
    assert request_of(reserve, reserved) is reserved
    assert request_of(reserve, rejected) is rejected
    assert request_of(reserve, restored) == Rejected(order_id, (CANCELLED,))
    assert request_of(restore, None) == PutBack(order_id, (), "cancelled")
    assert request_of(restore, reserved) == PutBack(order_id, (item,), "cancelled")
    assert request_of(restore, rejected) == restored
    assert request_of(restore, restored) == restored


# -- administration ----------------------------------------------------------------------------


def test_stock_is_not_adjusted_below_zero_or_above_what_fits() -> None:
    def problem(delta: int, stock: int) -> str | None:
        refused = refusal(adjust(IDS[0], delta), product(stock))
        return None if refused is None else f"{refused.code}: {refused.message}"

    assert problem(-5, 5) is None
    assert problem(-6, 5) == "conflict: Stock of Lily is 5; it cannot be reduced by 6"
    assert problem(1, MAX_STOCK) == (
        f"conflict: Stock of Lily is {MAX_STOCK}; it cannot be raised by 1, the most is {MAX_STOCK}"
    )


def test_what_is_off_the_catalogue_can_only_be_put_back() -> None:
    gone = product(5, removed=True)
    for missing in (None, gone):
        refused = refusal(adjust(IDS[0], 1), missing)
        assert refused is not None
        assert refused.code == "not_found"
        assert refusal(put(IDS[0]), missing) is None
