"""Refunds that Stripe refuses for good, refunds that overlap, and disputes: one order each."""

from datetime import timedelta
from uuid import UUID

import pytest

from contracts.message import new_message_id
from contracts.order import (
    CancelOrder,
    CartLine,
    ChangeOrderStatus,
    OrderStatus,
    PaymentStatus,
    PlaceOrder,
    RefundOrder,
    RetryRefund,
    SettleRefund,
)
from contracts.payment import CheckPayment, RefundPayment
from services.order.order import Order, State
from services.payment.model import RefundStatus
from tests.saga.agreement import check_always, check_at_rest
from tests.saga.stripe import PASSES, StripeIntent
from tests.saga.world import World

pytestmark = pytest.mark.usefixtures("in_memory")

PRODUCT, ID = UUID(int=1), UUID(int=7)
OF_STAFF = {"order_id": ID, "requested_by": "thabo", "reason": "as agreed"}
CANCEL = CancelOrder(**OF_STAFF, by_staff=True)
RETRY = RetryRefund(**OF_STAFF)


class Story:
    """An order of two pieces for 2000, paid and confirmed; three pieces were there."""

    def __init__(self) -> None:
        self.world = World({PRODUCT: 3}, "cancel")
        line = CartLine(product_id=PRODUCT, quantity=2)
        self.world.place(PlaceOrder(order_id=ID, customer_id="anna", lines=(line,)))
        self.all_arrives()
        self.world.stripe.move(self.intent, "succeeded")
        self.all_arrives()

    @property
    def order(self) -> Order:
        return self.world.orders.orders[ID].order

    @property
    def intent(self) -> StripeIntent:
        return self.world.stripe.intents[0]

    @property
    def stock(self) -> int:
        return self.world.inventory.products[PRODUCT].stock_quantity

    def all_arrives(self) -> None:
        while self.world.goes_on():
            pass

    def asks(self, *messages: object) -> "Story":
        """Each is handled before the next one is asked."""
        for message in messages:
            self.world.send(message)  # type: ignore[arg-type]
            self.all_arrives()
        return self

    def moves_to(self, *statuses: str) -> "Story":
        return self.asks(
            *(ChangeOrderStatus(**OF_STAFF, status=OrderStatus(each)) for each in statuses)
        )

    def is_disputed(self, *statuses: str) -> "Story":
        for status in statuses or ("needs_response",):
            self.world.stripe.dispute(self.intent, status)
            self.all_arrives()
        return self

    def time_passes(self, days: int) -> None:
        end = self.world.now + timedelta(days=days)
        while (deadline := self.world.next_deadline()) and deadline < end:
            self.world.time_passes(max(deadline, self.world.now))
            self.all_arrives()

    def stands_at(self, status: str, payment: str, *, stock: int) -> "Story":
        assert (self.order.status, self.order.payment_status) == (
            OrderStatus(status),
            PaymentStatus(payment),
        )
        assert self.stock == stock
        check_always(self.world)
        return self

    def is_settled(self) -> None:
        assert self.order.refused_refund is None
        check_always(self.world)
        check_at_rest(self.world)


def refund(amount: int | None = None, *, restock: bool | None = None) -> RefundOrder:
    return RefundOrder(**OF_STAFF, amount=amount, restock=restock)


def settle(amount: int, *, restock: bool | None = None) -> SettleRefund:
    return SettleRefund(**OF_STAFF, amount=amount, restock=restock)


# -- refused for good --------------------------------------------------------------------------


def test_a_refund_of_a_disputed_charge_is_tried_once_and_waits_for_a_decision() -> None:
    story = Story().is_disputed().asks(CANCEL)
    version = story.order.version
    story.time_passes(days=30)
    assert len(story.world.payments.refunds) == 1
    assert story.order.version == version
    story.stands_at("cancelled", "paid", stock=3)
    assert story.order.refused_amount == 2000
    assert "charge_disputed" in (story.order.refused_refund or "")


def test_a_refused_refund_is_not_tried_again_because_its_command_comes_again() -> None:
    story = Story().is_disputed().asks(CANCEL, settle(2000)).is_disputed("won")
    command = next(
        sent for sent in story.world.network.published if sent.type == RefundPayment.wire_type
    )
    story.world.network.late.append(command._replace(message_id=str(new_message_id())))
    story.all_arrives()
    assert not story.intent.refunds  # which Stripe would have made now
    story.stands_at("cancelled", "refunded", stock=3).is_settled()


def test_what_staff_settle_outside_ends_a_cancelled_order() -> None:
    story = Story().is_disputed().asks(CANCEL, settle(2000))
    story.stands_at("cancelled", "refunded", stock=3).is_settled()
    story.asks(refund())  # nothing is left
    assert len(story.world.payments.refunds) == 1


def test_staff_may_settle_for_less_or_for_nothing() -> None:
    Story().is_disputed().asks(CANCEL, settle(500)).stands_at(
        "cancelled", "partially_refunded", stock=3
    ).is_settled()
    Story().is_disputed().asks(CANCEL, settle(0)).stands_at(
        "cancelled", "paid", stock=3
    ).is_settled()


def test_what_was_settled_outside_is_not_refunded_as_well() -> None:
    story = Story().is_disputed().asks(refund(300), settle(300))
    story.stands_at("confirmed", "partially_refunded", stock=1)
    story.is_disputed("won").asks(refund())
    assert story.intent.refunded == 1700
    story.stands_at("refunded", "refunded", stock=3).is_settled()


def test_a_refused_refund_is_made_when_staff_try_again() -> None:
    story = Story()
    story.intent.refusal = ("This charge cannot be refunded.", "charge_not_refundable")
    story.asks(CANCEL, RETRY)
    assert [it.status for it in story.world.payments.refunds.values()] == [
        RefundStatus.FAILED,
        RefundStatus.FAILED,
    ]
    story.intent.refusal = None
    story.asks(RETRY).stands_at("cancelled", "refunded", stock=3).is_settled()


def test_a_refusal_that_passes_is_asked_again_without_staff_under_the_same_id() -> None:
    story = Story()
    story.intent.refusal = PASSES
    story.asks(CANCEL)
    story.time_passes(days=1)
    assert (len(story.world.payments.refunds), story.order.refused_refund) == (1, None)
    story.intent.refusal = None
    story.time_passes(days=1)
    story.stands_at("cancelled", "refunded", stock=3).is_settled()


@pytest.mark.parametrize(
    "way", [(), ("processing",), ("processing", "shipped"), ("processing", "shipped", "delivered")]
)
def test_a_refused_refund_leaves_the_order_where_it_was_and_movable(way: tuple[str, ...]) -> None:
    story = Story().moves_to(*way).is_disputed().asks(refund())
    story.stands_at(way[-1] if way else "confirmed", "paid", stock=1)
    assert story.order.refused_refund
    rest = ("processing", "shipped", "delivered", "archived")[len(way) :]
    story.moves_to(*rest).stands_at("archived", "paid", stock=1)
    story.asks(settle(2000)).stands_at("archived", "refunded", stock=1).is_settled()


@pytest.mark.parametrize(("restock", "stock"), [(None, 1), (True, 3), (False, 1)])
def test_settling_all_outside_ends_a_shipped_order_with_the_stock_as_staff_say(
    restock: bool | None, stock: int
) -> None:
    story = Story().moves_to("processing", "shipped").is_disputed().asks(refund())
    story.asks(settle(2000, restock=restock)).stands_at("refunded", "refunded", stock=stock)
    story.is_settled()


def test_a_refused_refund_keeps_what_staff_said_about_the_goods() -> None:
    story = Story().is_disputed().asks(refund(restock=False), settle(2000))
    story.stands_at("refunded", "refunded", stock=1).is_settled()


def test_no_decision_can_be_made_where_none_is_open() -> None:
    story = Story()
    version = story.order.version
    story.asks(RETRY, settle(100))
    assert story.order.version == version
    story.stands_at("confirmed", "paid", stock=1)


def test_a_refund_that_the_bank_sends_back_needs_a_decision() -> None:
    story = Story().asks(CANCEL).stands_at("cancelled", "refunded", stock=3)
    story.world.stripe.fail(story.intent, story.intent.refunds[0])
    story.all_arrives()
    assert "lost_or_stolen_card" in (story.order.refused_refund or "")
    story.time_passes(days=30)
    story.stands_at("cancelled", "paid", stock=3)
    story.asks(RETRY).stands_at("cancelled", "refunded", stock=3).is_settled()


def test_repeated_news_of_the_payment_is_no_decision() -> None:
    story = Story()
    story.intent.refusal = ("This charge cannot be refunded.", "charge_not_refundable")
    story.asks(CANCEL, CheckPayment(**OF_STAFF))
    assert len(story.world.payments.refunds) == 1
    assert story.order.refused_refund


def test_a_charge_that_is_refunded_already_needs_no_decision() -> None:
    story = Story()
    story.world.send(CANCEL)
    story.world.stripe.give_back(story.intent, 2000)
    story.world.stripe.undelivered.clear()  # no webhook tells
    story.all_arrives()
    story.stands_at("cancelled", "refunded", stock=3).is_settled()


def test_late_money_that_cannot_go_back_needs_a_decision_in_the_archive_too() -> None:
    story = Story().asks(CANCEL).moves_to("archived")
    story.world.stripe.fail(story.intent, story.intent.refunds[0])
    story.all_arrives()
    story.is_disputed().asks(RETRY)
    assert story.order.state is State.ARCHIVED_UNDONE
    assert "charge_disputed" in (story.order.refused_refund or "")
    story.asks(settle(2000)).stands_at("archived", "refunded", stock=3).is_settled()


# -- disputes ----------------------------------------------------------------------------------


def test_a_lost_dispute_settles_the_money_of_a_cancelled_order() -> None:
    story = Story().is_disputed().asks(CANCEL).is_disputed("under_review", "lost")
    story.stands_at("cancelled", "refunded", stock=3).is_settled()
    assert (story.order.amount_refunded, story.order.amount_lost) == (0, 2000)


@pytest.mark.parametrize(
    ("way", "stock"), [((), 3), (("processing",), 3), (("processing", "shipped"), 1)]
)
def test_a_lost_dispute_ends_an_order_like_a_refund(way: tuple[str, ...], stock: int) -> None:
    story = Story().moves_to(*way).is_disputed("needs_response", "lost")
    story.stands_at("refunded", "refunded", stock=stock).is_settled()


def test_a_dispute_lost_while_a_refund_is_asked_ends_the_order_as_staff_wanted() -> None:
    story = Story().is_disputed().asks(refund(restock=False)).is_disputed("lost")
    story.stands_at("refunded", "refunded", stock=1).is_settled()


def test_a_won_dispute_gives_the_customer_of_a_cancelled_order_the_money_back() -> None:
    story = Story().is_disputed().asks(CANCEL).is_disputed("under_review", "won")
    story.stands_at("cancelled", "refunded", stock=3).is_settled()
    assert len(story.world.payments.refunds) == 2


def test_a_won_dispute_reopens_the_question_for_an_order_that_went_on() -> None:
    story = Story().moves_to("processing", "shipped").is_disputed().asks(refund())
    story.is_disputed("won").stands_at("shipped", "paid", stock=1)
    assert "a refund is possible again" in (story.order.refused_refund or "")
    story.asks(RETRY).stands_at("refunded", "refunded", stock=1).is_settled()


def test_an_inquiry_refuses_nothing() -> None:
    story = Story().is_disputed("warning_needs_response").asks(CANCEL)
    story.stands_at("cancelled", "refunded", stock=3)


def test_a_dispute_that_is_lost_after_staff_settled_outside_is_known_as_lost() -> None:
    story = Story().is_disputed().asks(CANCEL, settle(2000)).is_disputed("lost")
    story.stands_at("cancelled", "refunded", stock=3).is_settled()
    assert (story.order.amount_lost, story.order.amount_settled) == (2000, 2000)


# -- refunds that overlap ----------------------------------------------------------------------


@pytest.mark.parametrize(("restock", "stock"), [(False, 1), (True, 3), (None, 3)])
def test_refunds_that_overlap_keep_what_staff_said_about_the_goods(
    restock: bool | None, stock: int
) -> None:
    story = Story()
    story.world.send(refund(1200, restock=restock))
    story.world.send(refund(800, restock=restock))
    story.all_arrives()
    story.stands_at("refunded", "refunded", stock=stock).is_settled()


def test_refunds_that_overlap_give_back_shipped_goods_that_came_back() -> None:
    story = Story().moves_to("processing", "shipped")
    story.world.send(refund(1200, restock=True))
    story.world.send(refund(800, restock=True))
    story.all_arrives()
    story.stands_at("refunded", "refunded", stock=3).is_settled()


def test_refunds_under_way_count_towards_what_is_left() -> None:
    story = Story()
    story.world.send(refund(1200))
    story.world.send(refund(900))
    story.all_arrives()
    assert story.intent.refunded == 1200
    assert len(story.world.payments.refunds) == 1
    story.stands_at("confirmed", "partially_refunded", stock=1)


def test_damaged_goods_stay_out_when_the_rest_is_refunded_in_the_dashboard() -> None:
    story = Story().asks(refund(1200, restock=False))
    story.world.stripe.give_back(story.intent, 800)
    story.all_arrives()
    story.stands_at("refunded", "refunded", stock=1).is_settled()
