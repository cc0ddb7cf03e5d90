"""Stories that the world told when it was new, kept as they were: one order each."""

from uuid import UUID

import pytest

from contracts.order import (
    CancelOrder,
    CartLine,
    ChangeOrderStatus,
    OrderStatus,
    PaymentStatus,
    PlaceOrder,
    RefundOrder,
)
from contracts.topics import PAYMENT_EVENTS, STRIPE_WEBHOOKS
from services.order.order import Order
from services.payment.model import CallKind
from tests.saga.agreement import check_always, check_at_rest
from tests.saga.stripe import Fate, StripeIntent
from tests.saga.world import World

pytestmark = pytest.mark.usefixtures("in_memory")

PRODUCT, ID = UUID(int=1), UUID(int=7)


class Story:
    """One order of 1000, whose payment is requested and can be made."""

    def __init__(self) -> None:
        self.world = World({PRODUCT: 1}, "cancel")
        line = CartLine(product_id=PRODUCT, quantity=1)
        self.world.place(PlaceOrder(order_id=ID, customer_id="anna", lines=(line,)))
        self.all_arrives()

    @property
    def order(self) -> Order:
        return self.world.orders.orders[ID].order

    @property
    def intent(self) -> StripeIntent:
        return self.world.stripe.intents[0]

    def all_arrives(self) -> None:
        while self.world.goes_on():
            pass

    def records_arrive(self) -> None:
        """And Stripe is not called."""
        while places := self.world.network.waiting():
            self.world.deliver(places[0])

    def webhooks_arrive(self) -> None:
        while self.world.stripe.undelivered:
            self.world.webhook_arrives(0, again=False)

    def is_paid(self) -> "Story":
        self.world.stripe.move(self.intent, "succeeded")
        self.all_arrives()
        return self

    def staff_cancel(self) -> None:
        self.world.send(
            CancelOrder(order_id=ID, requested_by="staff", by_staff=True, reason="damaged")
        )

    def ends(self, status: OrderStatus, payment: PaymentStatus) -> None:
        self.world.heal()
        check_always(self.world)
        check_at_rest(self.world)
        assert (self.order.status, self.order.payment_status) == (status, payment)


def test_a_refund_that_the_dashboard_made_first_is_made_when_the_bank_sends_that_one_back() -> None:
    story = Story().is_paid()
    story.staff_cancel()
    story.records_arrive()
    refund = story.world.stripe.give_back(story.intent, 1000)
    story.all_arrives()
    assert story.order.status is OrderStatus.CANCELLED
    story.world.stripe.fail(story.intent, refund)
    story.ends(OrderStatus.CANCELLED, PaymentStatus.REFUNDED)


def test_the_rest_is_not_all_when_an_earlier_part_comes_back() -> None:
    story = Story().is_paid()
    part = RefundOrder(order_id=ID, amount=300, requested_by="staff", reason="scratch")
    story.world.send(part)
    story.all_arrives()
    story.staff_cancel()
    story.records_arrive()
    story.world.stripe.fail(story.intent, story.intent.refunds[0])
    story.ends(OrderStatus.CANCELLED, PaymentStatus.REFUNDED)


def test_money_that_comes_after_the_archive_goes_back_also_at_the_second_attempt() -> None:
    story = Story()
    story.world.stripe.move(story.intent, "canceled")
    story.all_arrives()
    archive = ChangeOrderStatus(
        order_id=ID, status=OrderStatus.ARCHIVED, requested_by="staff", reason="done"
    )
    story.world.send(archive)
    story.all_arrives()
    story.world.stripe.move(story.intent, "succeeded")
    while story.world.goes_on(_refuses_refunds(story)):
        pass
    story.ends(OrderStatus.ARCHIVED, PaymentStatus.REFUNDED)


def _refuses_refunds(story: Story) -> Fate:
    kinds = {call.new.kind for call in story.world.payments.calls.values()}
    return Fate.REFUSED if CallKind.CREATE_REFUND in kinds else Fate.ANSWERED


def test_a_cancellation_that_stripe_takes_back_may_be_heard_of_last() -> None:
    story = Story()
    story.world.stripe.move(story.intent, "canceled")
    story.webhooks_arrive()
    story.world.deliver((STRIPE_WEBHOOKS.name, str(ID)))
    story.world.network.delay((PAYMENT_EVENTS.name, str(ID)))
    story.world.stripe.move(story.intent, "succeeded")
    story.ends(OrderStatus.CONFIRMED, PaymentStatus.PAID)


def test_an_answer_that_was_overtaken_takes_no_refund_back() -> None:
    story = Story()
    story.world.stripe.move(story.intent, "succeeded")
    story.world.check_payment(ID)
    story.world.call_stripe()
    story.world.stripe.give_back(story.intent, 1000)
    story.webhooks_arrive()
    story.records_arrive()
    story.ends(OrderStatus.REFUNDED, PaymentStatus.REFUNDED)
