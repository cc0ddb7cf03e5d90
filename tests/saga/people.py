"""What people do in the world: customers, staff, and both of them and banks at Stripe.

A Hypothesis state machine without faults; `machine` adds those, time, and what must hold.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from contracts.order import (
    CancelOrder,
    CartLine,
    ChangeOrderStatus,
    OrderStatus,
    PlaceOrder,
    RefundOrder,
    RetryRefund,
    SettleRefund,
)
from tests.saga.stripe import BY_CARD, DISPUTE_GOES_ON, REFUSALS, StripeIntent
from tests.saga.world import World

T = TypeVar("T")

SCARCE, LAST_ONE = UUID(int=1), UUID(int=2)
STOCK = {SCARCE: 3, LAST_ONE: 1}
CARTS = ({SCARCE: 1}, {SCARCE: 2}, {LAST_ONE: 1}, {SCARCE: 1, LAST_ONE: 1})
MOST_ORDERS = 4
PART = 300
"""Minor units, of prices of 1000."""

NEXT = {
    OrderStatus.PENDING: OrderStatus.CONFIRMED,
    OrderStatus.CONFIRMED: OrderStatus.PROCESSING,
    OrderStatus.PROCESSING: OrderStatus.SHIPPED,
    OrderStatus.SHIPPED: OrderStatus.DELIVERED,
    OrderStatus.DELIVERED: OrderStatus.ARCHIVED,
    OrderStatus.CANCELLED: OrderStatus.ARCHIVED,
    OrderStatus.REFUNDED: OrderStatus.ARCHIVED,
    OrderStatus.ARCHIVED: OrderStatus.REFUNDED,
}
"""What staff ask for when an order is so."""

carts = st.sampled_from(CARTS)
ways_to_pay = st.sampled_from(["succeeded", "payment_failed", "processing", "requires_action"])
pick = st.integers(0, 20)
"""Which of several, counted round."""


def one_of(items: Sequence[T], number: int) -> T:
    return items[number % len(items)]


def when(condition: Callable[[Any], object]) -> Callable[[T], T]:
    return cast("Callable[[T], T]", precondition(cast("Callable[[Any], bool]", condition)))


class People(RuleBasedStateMachine):
    """Rules named for what somebody does; `world` is there from the first rule on."""

    world: World

    # -- customers

    @when(lambda self: len(self.placed) < MOST_ORDERS)
    @rule(cart=carts, cancels_before=st.sampled_from([False, False, False, True]))
    def somebody_orders(self, cart: dict[UUID, int], cancels_before: bool) -> None:
        lines = tuple(CartLine(product_id=id_, quantity=n) for id_, n in cart.items())
        order_id = UUID(int=len(self.placed) + 1)
        if cancels_before:
            self.world.send(CancelOrder(order_id=order_id, requested_by="anna", reason="oh"))
        self.world.place(PlaceOrder(order_id=order_id, customer_id="anna", lines=lines))

    @when(lambda self: self.payable)
    @rule(which=pick, attempts=st.lists(ways_to_pay, min_size=1, max_size=3))
    def somebody_pays(self, which: int, attempts: list[str]) -> None:
        intent = one_of(self.payable, which)
        for how in attempts:
            if intent.status in BY_CARD:
                self.world.stripe.move(intent, how)

    @rule(which=pick, by_staff=st.booleans())
    def somebody_cancels(self, which: int, by_staff: bool) -> None:
        self.world.send(
            CancelOrder(
                order_id=one_of(self.placed, which),
                requested_by="staff" if by_staff else "anna",
                by_staff=by_staff,
                reason="changed my mind",
            )
        )

    # -- staff

    @rule(which=pick, steps=st.integers(1, 4))
    def staff_move_an_order_along(self, which: int, steps: int) -> None:
        order_id = one_of(self.placed, which)
        status = self.status_of(order_id)
        for _ in range(steps):
            status = NEXT[status]
            self.world.send(
                ChangeOrderStatus(
                    order_id=order_id, status=status, requested_by="staff", reason="next"
                )
            )

    @rule(
        which=pick,
        amount=st.sampled_from([None, PART]),
        restock=st.sampled_from([None, True, False]),
    )
    def staff_refund(self, which: int, amount: int | None, restock: bool | None) -> None:
        self.world.send(
            RefundOrder(
                order_id=one_of(self.placed, which),
                amount=amount,
                restock=restock,
                requested_by="staff",
                reason="goodwill",
            )
        )

    @when(lambda self: self.undecided)
    @rule(which=pick)
    def staff_try_a_refused_refund_again(self, which: int) -> None:
        self.world.send(
            RetryRefund(
                order_id=one_of(self.undecided, which), requested_by="staff", reason="try again"
            )
        )

    @when(lambda self: self.undecided)
    @rule(
        which=pick,
        amount=st.sampled_from([0, PART, None]),
        restock=st.sampled_from([None, True, False]),
    )
    def staff_settle_outside(self, which: int, amount: int | None, restock: bool | None) -> None:
        order_id = one_of(self.undecided, which)
        left = self.world.orders.orders[order_id].order.left
        self.world.send(
            SettleRefund(
                order_id=order_id,
                amount=left if amount is None else amount,
                restock=restock,
                requested_by="staff",
                reason="paid by transfer",
            )
        )

    # -- at Stripe

    @when(lambda self: self.intents("processing"))
    @rule(which=pick, how=st.sampled_from(["succeeded", "payment_failed"]))
    def a_bank_decides(self, which: int, how: str) -> None:
        self.world.stripe.move(one_of(self.intents("processing"), which), how)

    @when(lambda self: self.intents("canceled"))
    @rule(which=pick)
    def money_comes_after_all(self, which: int) -> None:
        self.world.stripe.move(one_of(self.intents("canceled"), which), "succeeded")

    @when(lambda self: self.intents(*BY_CARD))
    @rule(which=pick)
    def somebody_cancels_in_the_dashboard(self, which: int) -> None:
        self.world.stripe.move(one_of(self.intents(*BY_CARD), which), "canceled")

    @when(lambda self: self.refundable)
    @rule(which=pick, part=st.booleans())
    def somebody_refunds_in_the_dashboard(self, which: int, part: bool) -> None:
        intent = one_of(self.refundable, which)
        self.world.stripe.give_back(intent, min(PART, intent.kept) if part else intent.kept)

    @when(lambda self: self.disputable)
    @rule(which=pick, how=pick)
    def a_dispute_moves(self, which: int, how: int) -> None:
        intent = one_of(self.disputable, which)
        self.world.stripe.dispute(intent, one_of(DISPUTE_GOES_ON[intent.dispute], how))

    @when(lambda self: self.with_money)
    @rule(which=pick, refusal=st.sampled_from([None, *REFUSALS]))
    def stripe_refuses_refunds(self, which: int, refusal: tuple[str, str | None] | None) -> None:
        """None: not any more."""
        one_of(self.with_money, which).refusal = refusal

    @when(lambda self: any(it.refunded for it in self.world.stripe.intents))
    @rule(which=pick)
    def a_refund_does_not_arrive(self, which: int) -> None:
        standing = [
            (intent, refund)
            for intent in self.world.stripe.intents
            for refund in intent.refunds
            if not refund.failed
        ]
        self.world.stripe.fail(*one_of(standing, which))

    # -- what there is to choose from

    @property
    def placed(self) -> list[UUID]:
        return self.world.placed

    def status_of(self, order_id: UUID) -> OrderStatus:
        stored = self.world.orders.orders.get(order_id)
        return stored.order.status if stored else OrderStatus.PENDING

    def intents(self, *statuses: str) -> list[StripeIntent]:
        return [it for it in self.world.stripe.intents if it.status in statuses]

    @property
    def payable(self) -> list[StripeIntent]:
        """By a customer, who has to know its secret."""
        known = {order.payment_intent_id for order, _ in self.world.orders.orders.values()}
        return [intent for intent in self.intents(*BY_CARD) if intent.id in known]

    @property
    def undecided(self) -> list[UUID]:
        stored = self.world.orders.orders.values()
        return [order.id for order, _ in stored if order.refused_refund is not None]

    @property
    def disputable(self) -> list[StripeIntent]:
        return [it for it in self.world.stripe.intents if it.kept and it.dispute in DISPUTE_GOES_ON]

    @property
    def refundable(self) -> list[StripeIntent]:
        return [it for it in self.with_money if it.refusal_now is None]

    @property
    def with_money(self) -> list[StripeIntent]:
        return [it for it in self.world.stripe.intents if it.kept]
