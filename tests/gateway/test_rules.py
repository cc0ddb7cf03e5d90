"""What may be asked of an order, given how it stands."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.order import (
    STATUS_TRANSITIONS,
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    OrderUpdated,
    PaymentStatus,
    PaymentView,
    Problem,
    RefundOrder,
    StatusChange,
)
from services.gateway.idempotency import fingerprint
from services.gateway.placing import wait_preference
from services.gateway.requests import NewOrder
from services.gateway.rules import (
    Refused,
    customer_cancels,
    is_decided,
    refusal,
    staff_may_set,
    staff_refunds,
    staff_sets_status,
)
from services.kit.work import utc_now
from tests.gateway.conftest import cart
from tests.gateway.other_side import order

S, P = OrderStatus, PaymentStatus
STAFF: dict[str, Any] = {"by": "sipho", "reason": "asked", "admin_notes": None}


def standing(status: OrderStatus, paid: PaymentStatus = P.PAID, **fields: Any) -> OrderUpdated:
    return order(uuid4(), "thandi", status=status, payment_status=paid, **fields)


@given(st.sampled_from(S), st.sampled_from(P), st.sampled_from(S))
def test_staff_get_what_the_state_machine_allows_and_nothing_else(
    current: OrderStatus, payment: PaymentStatus, wanted: OrderStatus
) -> None:
    shown = standing(current, payment)
    if wanted not in staff_may_set(shown):
        with pytest.raises(Refused) as refused:
            staff_sets_status(shown, wanted, **STAFF)
        assert refused.value.allowed == staff_may_set(shown)
        return
    command = staff_sets_status(shown, wanted, **STAFF)
    assert wanted in STATUS_TRANSITIONS[current]
    expected = {S.CANCELLED: CancelOrder, S.REFUNDED: RefundOrder}
    assert type(command) is expected.get(wanted, ChangeOrderStatus)
    assert wanted is not S.CONFIRMED
    assert wanted is not S.REFUNDED or payment in {P.PAID, P.PARTIALLY_REFUNDED}


@pytest.mark.parametrize("status", S)
def test_a_customer_cancels_until_the_order_is_being_processed(status: OrderStatus) -> None:
    if status in {S.PENDING, S.CONFIRMED}:
        command = customer_cancels(standing(status), reason="changed my mind")
        assert (command.requested_by, command.by_staff) == ("thandi", False)
    else:
        with pytest.raises(Refused, match=status.value):
            customer_cancels(standing(status), reason="changed my mind")


@pytest.mark.parametrize(
    ("shown", "amount", "reason"),
    [
        (standing(S.PENDING, P.UNPAID), None, "Nothing can be refunded: the payment is unpaid"),
        (standing(S.ARCHIVED), None, "An order that is archived cannot be refunded"),
        (standing(S.SHIPPED), 24001, "At most 24000 can still be refunded, in minor units"),
        (
            standing(S.SHIPPED, P.PARTIALLY_REFUNDED, amount_refunded=20000),
            4001,
            "At most 4000 can still be refunded, in minor units",
        ),
    ],
)
def test_a_refund_that_cannot_be(shown: OrderUpdated, amount: int | None, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        staff_refunds(shown, amount=amount, restock=None, **STAFF)
    assert refused.value.detail == reason


@pytest.mark.parametrize("status", [S.CANCELLED, S.REFUNDED])
@pytest.mark.parametrize("archived", [False, True])
def test_money_that_the_bank_sent_back_can_be_refunded_again(
    status: OrderStatus, archived: bool
) -> None:
    undone = StatusChange(
        old_status=S.CONFIRMED, new_status=status, changed_by="x", reason=None, created_at=utc_now()
    )
    shown = standing(S.ARCHIVED if archived else status, P.PAID, history=(undone,))
    assert staff_refunds(shown, amount=None, restock=None, **STAFF)


def test_a_refund_of_what_is_left() -> None:
    shown = standing(S.DELIVERED, P.PARTIALLY_REFUNDED, amount_refunded=20000)
    assert staff_refunds(shown, amount=4000, restock=True, **STAFF).amount == 4000


def test_an_order_is_decided_once_it_can_be_paid_or_cannot_be_had() -> None:
    problem = Problem(code="out_of_stock", message="gone")
    payment = PaymentView(payment_intent_id="pi_1")
    assert not is_decided(standing(S.PENDING, P.UNPAID))
    assert is_decided(standing(S.PENDING, P.UNPAID, payment=payment))
    assert is_decided(standing(S.CONFIRMED))
    assert refusal(standing(S.CONFIRMED, payment=payment)) == []
    assert refusal(standing(S.PENDING, P.UNPAID, problems=(problem,))) == [problem]
    [failed] = refusal(standing(S.CANCELLED, P.FAILED))
    assert failed.message == "told"
    assert refusal(standing(S.CANCELLED, P.FAILED, payment=payment)) == []


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=5", 5),
        ("respond-async, wait=10", 10),
        ("Wait = 3; foo", 3),
        ("wait=9999999", 30),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("await=5", 0),
    ],
)
def test_the_wait_that_a_customer_prefers(prefer: str | None, seconds: int) -> None:
    assert wait_preference(prefer) == seconds


def test_a_fingerprint_tells_requests_apart_but_not_their_spelling() -> None:
    one = NewOrder.model_validate(cart())
    spelt = NewOrder.model_validate(dict(reversed(cart(currency=None, unknown=1).items())))
    other = NewOrder.model_validate(cart(currency="zar"))
    assert fingerprint("place", one) == fingerprint("place", spelt)
    assert fingerprint("place", one) != fingerprint("place", other)
    assert fingerprint("place", one) != fingerprint("refund", one)
