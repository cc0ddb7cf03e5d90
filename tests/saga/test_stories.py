"""The saga told as stories: given what the order heard, these commands go out."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from contracts.inventory import (
    CommitStock,
    ReserveStock,
    RestoreStock,
    StockRejected,
    StockReserved,
    StockRestored,
)
from contracts.message import Message
from contracts.order import (
    CartLine,
    OrderItem,
    OrderStatus,
    PaymentStatus,
    PlaceOrder,
    Problem,
)
from contracts.payment import (
    CancelPayment,
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    RefundPayment,
    RequestPayment,
)
from services.order.commands import reserve_stock
from services.order.events import (
    CustomerCancels,
    Deliver,
    Event,
    RefundAll,
    RefundPart,
    ReservationExpired,
    Ship,
    StaffCancels,
    StartProcessing,
    StepTimedOut,
)
from services.order.order import Order
from services.order.saga import UnexpectedEventError, advance, begin

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ID = UUID("01890000-0000-7000-8000-000000000002")
PRODUCT = uuid4()

RESERVED = StockReserved(
    order_id=ID,
    items=(OrderItem(product_id=PRODUCT, name="Print", quantity=2, price=6000),),
    total=12000,
    currency="zar",
)
INTENT = PaymentIntentCreated(
    order_id=ID,
    payment_intent_id="pi_1",
    client_secret="s",
    intent_status="requires_payment_method",
)
PAID = PaymentSucceeded(order_id=ID, payment_intent_id="pi_1", amount=12000, currency="zar")
DECLINED = PaymentFailed(order_id=ID, payment_intent_id="pi_1", message="Your card was declined.")
CANCELED = PaymentCanceled(order_id=ID, payment_intent_id="pi_1")
REFUNDED = PaymentRefunded(order_id=ID, amount_refunded=12000, payment_version=5)
RESTORED = StockRestored(order_id=ID)
ANNA_CANCELS = CustomerCancels("anna", "changed my mind")
STAFF_CANCEL = StaffCancels("thabo", "the frame is damaged")


class Story:
    """`Story().hears(...).sends(...).shows(...)`"""

    def __init__(self) -> None:
        line = CartLine(product_id=PRODUCT, quantity=2, price=1)
        command = PlaceOrder(order_id=ID, customer_id="anna", lines=(line,))
        self.order: Order = begin(command, NOW, timedelta(minutes=30))
        self.sent: tuple[Message, ...] = (reserve_stock(self.order),)
        self.refused: str | None = None

    def hears(self, *events: Event) -> "Story":
        for event in events:
            step = advance(self.order, event, NOW)
            self.order, self.sent, self.refused = step.order, step.send, step.refused
        return self

    def sends(self, *commands: type[Message]) -> "Story":
        assert tuple(type(message) for message in self.sent) == commands
        return self

    def shows(self, status: OrderStatus, payment: PaymentStatus) -> "Story":
        assert (self.order.status, self.order.payment_status) == (status, payment)
        return self


def test_an_order_is_reserved_paid_and_confirmed() -> None:
    story = Story().sends(ReserveStock)
    story.hears(RESERVED).sends(RequestPayment)
    story.hears(INTENT).sends().shows(OrderStatus.PENDING, PaymentStatus.UNPAID)
    story.hears(PAID).sends(CommitStock).shows(OrderStatus.CONFIRMED, PaymentStatus.PAID)
    assert [(c.old_status, c.new_status, c.changed_by) for c in story.order.history] == [
        (None, OrderStatus.PENDING, "anna"),
        (OrderStatus.PENDING, OrderStatus.CONFIRMED, "payment-service"),
    ]


def test_the_price_charged_is_the_reserved_one_not_the_carts() -> None:
    story = Story().hears(RESERVED)
    (request,) = story.sent
    assert isinstance(request, RequestPayment)
    assert (request.amount, request.currency) == (12000, "zar")


def test_without_stock_the_order_is_cancelled_and_nothing_needs_undoing() -> None:
    problem = Problem(code="out_of_stock", message="Product out of stock.", product_id=PRODUCT)
    story = Story().hears(StockRejected(order_id=ID, problems=(problem,)))
    story.sends().shows(OrderStatus.CANCELLED, PaymentStatus.UNPAID)
    assert story.order.problems == (problem,)


def test_a_declined_card_cancels_at_stripe_first_and_only_then_releases_the_stock() -> None:
    story = Story().hears(RESERVED, INTENT, DECLINED).sends(CancelPayment)
    story.shows(OrderStatus.PENDING, PaymentStatus.FAILED)  # somebody could still pay
    story.hears(CANCELED).sends(RestoreStock)
    story.shows(OrderStatus.CANCELLED, PaymentStatus.FAILED)
    assert story.order.admin_notes == "Payment failed: Your card was declined."
    assert story.order.history[-1].reason == "Payment failed: Your card was declined."
    story.hears(RESTORED).sends()


def test_a_payment_that_beats_the_cancelling_of_a_declined_card_wins() -> None:
    story = Story().hears(RESERVED, INTENT, DECLINED, PAID)
    story.sends(CommitStock).shows(OrderStatus.CONFIRMED, PaymentStatus.PAID)


def test_an_unpaid_order_expires_unless_stripe_says_it_was_paid_meanwhile() -> None:
    expired = Story().hears(RESERVED, INTENT, ReservationExpired()).sends(CancelPayment)
    expired.hears(CANCELED).sends(RestoreStock)
    assert expired.order.history[-1].reason == "not paid within the reservation time"

    paid = Story().hears(RESERVED, INTENT, ReservationExpired(), PAID)
    paid.sends(CommitStock).shows(OrderStatus.CONFIRMED, PaymentStatus.PAID)


def test_a_payment_that_crosses_the_customers_cancellation_goes_back() -> None:
    story = Story().hears(RESERVED, INTENT, ANNA_CANCELS).sends(CancelPayment)
    story.hears(PAID).sends(RefundPayment).shows(OrderStatus.CANCELLED, PaymentStatus.PAID)
    story.hears(REFUNDED).sends(RestoreStock)
    story.shows(OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
    assert story.order.history[-1].changed_by == "anna"


def test_money_that_arrives_after_the_end_goes_back_and_the_order_stays_closed() -> None:
    story = Story().hears(RESERVED, INTENT, CANCELED, RESTORED, PAID).sends(RefundPayment)
    story.hears(REFUNDED, RESTORED).shows(OrderStatus.CANCELLED, PaymentStatus.REFUNDED)


def test_cancelling_before_the_reservation_is_decided_leaves_an_undo_behind() -> None:
    story = Story().hears(ANNA_CANCELS).sends(RestoreStock)
    story.hears(RESERVED).sends()  # crossed on the wire
    story.hears(RESTORED).shows(OrderStatus.CANCELLED, PaymentStatus.UNPAID)


def test_staff_cancel_a_paid_order_with_their_name_on_it() -> None:
    story = Story().hears(RESERVED, INTENT, PAID, STAFF_CANCEL).sends(RefundPayment)
    story.shows(OrderStatus.CANCELLED, PaymentStatus.PAID)
    story.hears(REFUNDED).sends(RestoreStock).hears(RESTORED)
    story.shows(OrderStatus.CANCELLED, PaymentStatus.REFUNDED)
    last = story.order.history[-1]
    assert (last.changed_by, last.reason) == ("thabo", "the frame is damaged")


def test_a_full_refund_restocks_what_has_not_been_shipped() -> None:
    story = Story().hears(RESERVED, INTENT, PAID, RefundAll("thabo", "goodwill"))
    story.sends(RefundPayment).shows(OrderStatus.CONFIRMED, PaymentStatus.PAID)
    story.hears(REFUNDED).sends(RestoreStock)
    story.shows(OrderStatus.REFUNDED, PaymentStatus.REFUNDED)


def test_a_full_refund_of_shipped_goods_restocks_nothing_by_itself() -> None:
    work = StartProcessing("thabo", "packing"), Ship("thabo", "courier")
    story = Story().hears(RESERVED, INTENT, PAID, *work, RefundAll("thabo", "lost"))
    story.hears(REFUNDED).sends().shows(OrderStatus.REFUNDED, PaymentStatus.REFUNDED)


def test_a_partial_refund_changes_the_payment_only() -> None:
    part = RefundPart("thabo", "scratch", refund_id=uuid4(), amount=2000)
    story = Story().hears(RESERVED, INTENT, PAID, part).sends(RefundPayment)
    assert story.order.refundable == 10000  # what is under way counts
    story.hears(
        PaymentPartiallyRefunded(
            order_id=ID, amount_refunded=2000, refund_id=part.refund_id, payment_version=4
        )
    )
    story.sends().shows(OrderStatus.CONFIRMED, PaymentStatus.PARTIALLY_REFUNDED)
    assert story.order.refundable == 10000


def test_a_late_partial_refund_does_not_take_back_the_full_one() -> None:
    late = PaymentPartiallyRefunded(order_id=ID, amount_refunded=2000, payment_version=4)
    story = Story().hears(RESERVED, INTENT, PAID, REFUNDED, RESTORED, late)
    story.shows(OrderStatus.REFUNDED, PaymentStatus.REFUNDED)


def test_an_unanswered_command_is_sent_again_without_a_new_version() -> None:
    story = Story().hears(RESERVED)
    version = story.order.version
    story.hears(StepTimedOut(), StepTimedOut()).sends(RequestPayment)
    assert story.order.version == version


def test_what_is_too_late_is_refused_and_changes_nothing() -> None:
    story = Story().hears(RESERVED, INTENT, PAID, StartProcessing("thabo", "packing"))
    version = story.order.version
    assert story.hears(ANNA_CANCELS).refused == "the order is being prepared"
    assert story.hears(Deliver("thabo", "?")).refused == "not from this status"
    assert story.order.version == version


def test_an_event_that_nobody_thought_of_is_not_swallowed() -> None:
    with pytest.raises(UnexpectedEventError, match="PaymentSucceeded while reserving"):
        Story().hears(PAID)
