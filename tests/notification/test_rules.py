"""Which mails follow from which versions of an order: no servers."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.order import OrderUpdated
from services.notification.rules import Kind, Mail, Told, mails_of, told_after
from tests.notification.orders import (
    MAILS_OF_BOUGHT,
    MAILS_OF_PAID_TOO_LATE,
    TOTAL,
    bought,
    now,
    order,
    paid_too_late,
)

DAY = timedelta(days=1)


def told(versions: Iterable[OrderUpdated]) -> list[Mail]:
    """The mails of versions as they are heard."""
    known, mails = Told(), []
    for version in versions:
        mails += mails_of(version, known, now() - DAY)
        known = told_after(version, known)
    return mails


def names(mails: Iterable[Mail]) -> list[str]:
    return [f"{mail.kind}.{mail.number}" for mail in mails]


def test_an_order_that_goes_well_and_comes_back() -> None:
    assert names(told(bought(uuid4()))) == MAILS_OF_BOUGHT


def test_a_payment_that_comes_too_late() -> None:
    mails = told(paid_too_late(uuid4()))
    assert names(mails) == MAILS_OF_PAID_TOO_LATE
    assert mails[1].facts["reason"] == "because cancelled"
    assert mails[-1].facts["amount"] == "R240.00"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.booleans())
def test_versions_in_any_order_and_number_tell_each_change_once(
    heard: list[int], ends: bool
) -> None:
    versions = bought(uuid4())
    mails = told([versions[index] for index in [*heard, *([6] if ends else [])]])
    assert len(set(names(mails))) == len(mails)
    newest = 6 if ends else max(heard)
    changes = {name for name in MAILS_OF_BOUGHT[:3] if int(name[-1]) <= newest + 1}
    assert {name for name in names(mails) if not name.startswith("refund")} == changes
    refunded = sum(
        int(str(mail.facts["amount"])[1:].replace(".", ""))
        for mail in mails
        if mail.kind is Kind.REFUND_MADE
    )
    assert refunded == versions[newest].amount_refunded


def test_a_refund_that_the_bank_sent_back_is_news_when_it_is_made_again() -> None:
    order_id, way = uuid4(), ["pending", "confirmed", "refunded"]
    mails = told(
        [
            order(order_id, 3, way, "refunded", TOTAL),
            order(order_id, 4, way, "paid", 0),
            order(order_id, 5, way, "refunded", TOTAL),
        ]
    )
    assert [n for n in names(mails) if n.startswith("refund")] == ["refund_made.3", "refund_made.5"]


def test_old_news_is_not_sent_but_what_follows_is() -> None:
    order_id, old = uuid4(), now() - 2 * DAY
    before = order(order_id, 2, ["pending", "confirmed"], "paid", at=old)
    assert mails_of(before, Told(), now() - DAY) == []
    after = order(order_id, 3, ["pending", "confirmed"], "refunded", TOTAL)
    news = after.model_copy(update={"history": before.history})
    assert names(mails_of(news, Told(), now() - DAY)) == ["refund_made.3"]


@pytest.mark.parametrize(("currency", "text"), [("jpy", "JPY 24000"), ("kwd", "KWD 24.000")])
def test_money_is_written_in_the_units_of_its_currency(currency: str, text: str) -> None:
    confirmed = order(uuid4(), 2, ["pending", "confirmed"], "paid", currency=currency)
    (mail,) = mails_of(confirmed, Told(), now() - DAY)
    assert mail.facts["total"] == text
