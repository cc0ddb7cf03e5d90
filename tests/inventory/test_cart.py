"""The cart check: its order, its texts, and its tolerance."""

from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from contracts.cart import add_up, check_cart, format_money, short_at_reservation, short_in_cart
from contracts.order import CartLine

LILY, FRAME = uuid4(), uuid4()


@dataclass
class Offer:
    name: str = "Lily"
    price: int = 12_000
    currency: str = "zar"
    available: bool = True
    stock_quantity: int = 5
    removed: bool = False


def line(product_id: UUID = LILY, quantity: int = 1, price: int | None = None) -> CartLine:
    return CartLine(product_id=product_id, quantity=quantity, price=price)


def messages(
    lines: list[CartLine], offers: dict[UUID, Offer], currency: str | None = None
) -> list[str]:
    return [
        problem.message
        for problem in check_cart(lines, offers, shortage=short_in_cart, currency=currency)
    ]


def test_a_cart_that_can_be_had_has_no_problems() -> None:
    assert messages([line(quantity=5, price=12_000)], {LILY: Offer()}) == []


def test_the_first_thing_wrong_with_a_line_is_told() -> None:
    everything = Offer(removed=True, available=False, stock_quantity=0, currency="eur")
    asked = [line(quantity=7, price=10_000)]
    expected = [
        ({}, "Product no longer available"),
        ({"removed": False}, "Lily is no longer available"),
        ({"available": True}, "Insufficient stock for Lily. Available: 0, In cart: 7"),
        ({"stock_quantity": 7}, "Lily is sold in EUR, not in ZAR"),
        ({"currency": "zar"}, "Price for Lily has changed. Was R100.00, now R120.00"),
    ]
    offer = everything
    for change, text in expected:
        offer = replace(offer, **change)  # type: ignore[arg-type]
        assert messages(asked, {LILY: offer}, "zar") == [text]
    assert messages(asked, {LILY: replace(offer, price=10_000)}, "zar") == []


def test_all_lines_are_told_together_in_their_order() -> None:
    gone = uuid4()
    offers = {LILY: Offer(stock_quantity=1), FRAME: Offer(name="Frame", available=False)}
    assert messages([line(FRAME), line(gone), line(LILY, 2)], offers) == [
        "Frame is no longer available",
        "Product no longer available",
        "Insufficient stock for Lily. Available: 1, In cart: 2",
    ]


def test_a_reservation_words_the_shortage_its_own_way() -> None:
    problem = short_at_reservation(line(quantity=9), Offer())
    assert problem.message == "Insufficient stock for Lily. Available: 5, Requested: 9"
    assert (problem.code, problem.product_id) == ("insufficient_stock", LILY)


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (10_000, 10_100, False),
        (10_000, 9_900, False),
        (10_000, 10_101, True),
        (10_000, 9_899, True),
        (50, 51, True),
        (0, 1, True),
    ],
)
def test_a_price_may_move_by_one_percent_of_the_carts(was: int, now: int, told: bool) -> None:
    assert bool(messages([line(price=was)], {LILY: Offer(price=now)})) is told


def test_one_order_has_one_currency() -> None:
    offers = {LILY: Offer(), FRAME: Offer(name="Frame", currency="eur")}
    problems = check_cart([line(LILY), line(FRAME)], offers, shortage=short_in_cart)
    assert [problem.code for problem in problems] == ["mixed_currencies"]
    problems = check_cart([line(LILY), line(FRAME)], offers, shortage=short_in_cart, currency="zar")
    assert [(problem.code, problem.product_id) for problem in problems] == [
        ("currency_mismatch", FRAME)
    ]


def test_the_same_product_on_two_lines_is_added_up() -> None:
    lines = [line(LILY, 2), line(FRAME, 1), line(LILY, 3, price=7)]
    assert add_up(lines) == [line(LILY, 5, price=7), line(FRAME, 1)]
    assert add_up(lines[:2]) == lines[:2]
    with pytest.raises(ValidationError):
        add_up([line(LILY, 10_000), line(LILY, 1)])


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (12_000, "zar", "R120.00"),
        (5, "zar", "R0.05"),
        (1_250, "eur", "EUR 12.50"),
        (1_200, "jpy", "JPY 1200"),
        (1_234, "kwd", "KWD 1.234"),
    ],
)
def test_money_for_people(amount: int, currency: str, text: str) -> None:
    assert format_money(amount, currency) == text
