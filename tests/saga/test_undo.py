"""Every way through the table that ends undone has undone what it did, newest step first."""

from collections.abc import Iterator

import pytest

from services.order.order import State
from services.order.saga import TRANSITIONS, Go

Way = tuple[State, tuple[str, ...]]
"""A state, and what happened on the way there: events heard and commands sent, by name."""


def ways(state: State, told: tuple[str, ...] = (), seen: tuple[State, ...] = ()) -> Iterator[Way]:
    """All ways on from a state that visit no state twice."""
    moves = [
        (event, rule)
        for (at, event), rule in TRANSITIONS.items()
        if at is state and isinstance(rule, Go) and rule.state not in (None, state, *seen)
    ]
    if not moves or state in ENDS:
        yield state, told
    for event, rule in moves:
        assert rule.state is not None
        sent = tuple(command.__name__ for command in rule.send)
        yield from ways(rule.state, (*told, event.__name__, *sent), (*seen, state))


BACK = {"PaymentRefunded", "RefundedAndRestock", "RefundedKeepStock"}
"""All the money is back."""
SETTLED = {"SettleAll", "SettleAndRestock", "SettleKeepStock"}
"""Staff gave it back outside Stripe."""
LEFT_TO_STAFF = {"RefundRefused"}
"""Stripe refused for good; the order has ended, and staff decide about its money."""
ENDS = {State.CANCELLED, State.REFUNDED}
WAYS = [way for way in ways(State.RESERVING) if way[0] in ENDS]


def test_there_are_many_ways_to_end_undone() -> None:
    assert len(WAYS) > 100
    assert {end for end, _ in WAYS} == ENDS


@pytest.mark.parametrize("end", sorted(ENDS))
def test_stock_that_was_reserved_is_restored_or_deliberately_kept_out(end: State) -> None:
    for state, told in WAYS:
        if state is end and "StockReserved" in told:
            kept = {"RefundKeepStock", "RefundedKeepStock", "SettleKeepStock"}
            # The last two only happen to orders that were shipped.
            goods_out = {"Ship", *kept, "RefusedWhenShipped", "RefusedWhenDelivered"}
            assert "restore_stock" in told or goods_out & set(told), told


def test_a_payment_that_could_come_was_cancelled_and_one_that_came_was_refunded() -> None:
    for _, told in WAYS:
        if "PaymentSucceeded" in told:
            assert (BACK | SETTLED | LEFT_TO_STAFF) & set(told), told
        elif "request_payment" in told:
            assert {"PaymentCanceled", "PaymentRefunded"} & set(told), told


def test_money_is_settled_before_the_stock_is_released() -> None:
    for _, told in WAYS:
        if "request_payment" not in told or "restore_stock" not in told:
            continue
        released = told.index("restore_stock")
        ends = BACK | SETTLED | LEFT_TO_STAFF | {"PaymentCanceled"}
        settled = [i for i, name in enumerate(told) if name in ends]
        assert settled, told
        assert settled[0] < released, told
