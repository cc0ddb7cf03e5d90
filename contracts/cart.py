"""The cart check: which lines can be had, and the customer's text for each that cannot.

One rule for both who apply it. The gateway checks a cart against its view of the catalogue; the
inventory service checks an order against the locked products, with authority. The order of the
checks and the texts are part of what customers were promised, so they live with the contracts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol, TypeVar
from uuid import UUID

from contracts.order import CartLine, Problem

PRICE_TOLERANCE_PERCENT: Final = 1
"""A price may have moved this much, of the price in the cart, before the customer is asked."""

_WHOLE_UNITS: Final = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
)
_THOUSANDTHS: Final = ("bhd", "jod", "kwd", "omr", "tnd")
_DECIMALS: Final = dict.fromkeys(_WHOLE_UNITS, 0) | dict.fromkeys(_THOUSANDTHS, 3)
"""Currencies whose smallest unit is not a hundredth (docs.stripe.com/currencies)."""


class Offer(Protocol):
    """What the check reads of a product; `contracts.inventory.Product` is one."""

    @property
    def name(self) -> str: ...
    @property
    def price(self) -> int: ...
    @property
    def currency(self) -> str: ...
    @property
    def available(self) -> bool: ...
    @property
    def stock_quantity(self) -> int: ...
    @property
    def removed(self) -> bool: ...


AnyOffer = TypeVar("AnyOffer", bound=Offer)
Shortage = Callable[[CartLine, AnyOffer], Problem]
"""Words the problem of a line that asks for more than there is."""


def check_cart(
    lines: Iterable[CartLine],
    offers: Mapping[UUID, AnyOffer],
    *,
    shortage: Shortage[AnyOffer],
    currency: str | None = None,
) -> list[Problem]:
    """The problems of all lines, in the order of the lines; empty when the cart can be had.

    `lines` name each product once (see `add_up`); `currency` is the one that the customer
    expects, None takes the products' own, which must then be one and the same.
    """
    problems: list[Problem] = []
    currencies: set[str] = set()
    for line in lines:
        offer = offers.get(line.product_id)
        problem = check_line(line, offer, shortage=shortage, currency=currency)
        if problem is not None:
            problems.append(problem)
        if offer is not None and not offer.removed:
            currencies.add(offer.currency)
    if currency is None and len(currencies) > 1:
        listed = ", ".join(sorted(currencies)).upper()
        problems.append(
            Problem(
                code="mixed_currencies",
                message=f"All products of one order must have the same currency, not {listed}",
            )
        )
    return problems


def check_line(
    line: CartLine,
    offer: AnyOffer | None,
    *,
    shortage: Shortage[AnyOffer],
    currency: str | None = None,
) -> Problem | None:
    """The first thing that is wrong with one line, or None. `offer` None: no such product."""
    if offer is None or offer.removed:
        return _problem(line, "product_not_found", "Product no longer available")
    if not offer.available:
        return _problem(line, "product_unavailable", f"{offer.name} is no longer available")
    if line.quantity > offer.stock_quantity:
        return shortage(line, offer)
    if currency is not None and currency != offer.currency:
        return _problem(
            line,
            "currency_mismatch",
            f"{offer.name} is sold in {offer.currency.upper()}, not in {currency.upper()}",
        )
    if line.price is not None and _moved(line.price, offer.price):
        was = format_money(line.price, offer.currency)
        now = format_money(offer.price, offer.currency)
        text = f"Price for {offer.name} has changed. Was {was}, now {now}"
        return _problem(line, "price_changed", text)
    return None


def short_in_cart(line: CartLine, offer: Offer) -> Problem:
    """The shortage as a cart check words it."""
    return _insufficient(line, offer, f"In cart: {line.quantity}")


def short_at_reservation(line: CartLine, offer: Offer) -> Problem:
    """The shortage as an order is told (P1)."""
    return _insufficient(line, offer, f"Requested: {line.quantity}")


def sold_to_another(line: CartLine, _offer: Offer) -> Problem:
    """The shortage as the loser of the race for the last item is told (P2)."""
    return _problem(
        line,
        "out_of_stock",
        "Product out of stock. Another customer may have purchased it. Please try again.",
    )


def add_up(lines: Sequence[CartLine]) -> Sequence[CartLine]:
    """Each product once, in order of first appearance; quantities added, the lowest price kept, so
    that nobody pays more than one of the lines said.

    Raises:
        pydantic.ValidationError: a sum is above `contracts.order.MAX_QUANTITY`.
    """
    if len({line.product_id for line in lines}) == len(lines):
        return lines
    summed: dict[UUID, CartLine] = {}
    for line in lines:
        earlier = summed.get(line.product_id)
        if earlier is None:
            summed[line.product_id] = line
        else:
            summed[line.product_id] = CartLine(
                product_id=line.product_id,
                quantity=earlier.quantity + line.quantity,
                price=min((p for p in (earlier.price, line.price) if p is not None), default=None),
            )
    return list(summed.values())


def decimals_of(currency: str) -> int:
    """Digits behind the point of an amount for people."""
    return _DECIMALS.get(currency, 2)


def format_money(amount: int, currency: str) -> str:
    """An amount of minor units for people: `R120.00`, `EUR 12.50`, `JPY 1200`."""
    decimals = decimals_of(currency)
    whole, rest = divmod(amount, 10**decimals)
    number = f"{whole}.{rest:0{decimals}d}" if decimals else str(whole)
    return f"R{number}" if currency == "zar" else f"{currency.upper()} {number}"


def _moved(old: int, new: int) -> bool:
    # In whole units: 1 % of a price must not depend on how floats round.
    return abs(new - old) * 100 > old * PRICE_TOLERANCE_PERCENT


def _insufficient(line: CartLine, offer: Offer, asked: str) -> Problem:
    text = f"Insufficient stock for {offer.name}. Available: {offer.stock_quantity}, {asked}"
    return _problem(line, "insufficient_stock", text)


def _problem(line: CartLine, code: str, message: str) -> Problem:
    return Problem(code=code, message=message, product_id=line.product_id)
