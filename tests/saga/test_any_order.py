"""Answers, time-outs and wishes may come in any order, twice or late: nothing surprises the saga.

Tens of thousands of random lives of one order. Whatever happened, in the end the money and the
stock are where the order's state says they are.
"""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from contracts.message import Message, new_message_id
from contracts.order import (
    STATUS_TRANSITIONS,
    CancelOrder,
    CartLine,
    ChangeOrderStatus,
    OrderStatus,
    PaymentStatus,
    PlaceOrder,
    RefundOrder,
    RetryRefund,
    SettleRefund,
    StatusChange,
)
from services.order.commands import reserve_stock
from services.order.deadlines import Timing
from services.order.events import Event, ReservationExpired, StepTimedOut
from services.order.order import Order, State
from services.order.saga import TRANSITIONS, Go, advance, begin, follow_up
from services.order.understanding import understand
from tests.saga.participants import PRICE, Inventory, Network, Payment

ID = UUID("01890000-0000-7000-8000-000000000001")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIVES = 20_000
WISHES: tuple[Message, ...] = (
    CancelOrder(order_id=ID, requested_by="anna", reason="changed my mind"),
    CancelOrder(order_id=ID, requested_by="staff", by_staff=True, reason="damaged"),
    *(
        ChangeOrderStatus(order_id=ID, status=status, requested_by="staff", reason="next")
        for status in OrderStatus
    ),
    *(
        RefundOrder(
            order_id=ID, amount=amount, restock=restock, requested_by="staff", reason="nice"
        )
        for amount in (None, 100)
        for restock in (None, True, False)
    ),
)
DECISIONS: tuple[Message, ...] = (
    RetryRefund(order_id=ID, requested_by="staff", reason="again"),
    *(
        SettleRefund(
            order_id=ID, amount=amount, restock=restock, requested_by="staff", reason="transfer"
        )
        for amount in (100, 2 * PRICE)
        for restock in (None, True, False)
    ),
)
FULFILMENT = tuple(
    ChangeOrderStatus(order_id=ID, status=status, requested_by="staff", reason="next")
    for status in ("processing", "shipped", "delivered", "archived")
)
WAITING = {state for state, event in TRANSITIONS if event is StepTimedOut}
EXPIRES = {state for state, event in TRANSITIONS if event is ReservationExpired}


class Life:
    """One order, its participants, and the chance that drives them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.inventory = Inventory(has_stock=self.rng.random() < 0.85)
        self.payment = Payment()
        self.network = Network(self.rng)
        line = CartLine(product_id=UUID(int=7), quantity=2)
        command = PlaceOrder(order_id=ID, customer_id="anna", lines=(line,))
        self.order: Order = begin(command, NOW, timedelta(minutes=30))
        self.network.send(reserve_stock(self.order))
        self.wishes = self.rng.choices(WISHES, k=self.rng.choice([0, 0, 1, 1, 2, 8]))
        if self.rng.random() < 0.4:  # staff do their work, and somebody interferes
            self.wishes = [*self.wishes, *reversed(FULFILMENT[: self.rng.randint(1, 4)])]
            place = self.rng.randrange(len(self.wishes) + 1)
            self.wishes.insert(place, self.rng.choice(WISHES))
        self.taken: Counter[tuple[State, str]] = Counter()

    def hear(self, event: Event) -> None:
        self.taken[self.order.state, type(event).__name__] += 1
        step = advance(self.order, event, NOW)
        assert step.order.version == self.order.version + step.changed
        if self.order.status in (OrderStatus.CANCELLED, OrderStatus.REFUNDED):
            assert step.order.status in (self.order.status, OrderStatus.ARCHIVED)
        self.order = step.order
        self.network.send(*step.send)

    def deliver(self, message: Message) -> None:
        if message.wire_type.startswith("inventory.") and message.topic.name.endswith("commands"):
            self.network.send(*self.inventory.serve(message))
        elif message.topic.name == "payment.commands":
            self.network.send(*self.payment.serve(message))
        else:
            self.hear(understand(message, new_message_id(), self.order))

    def live(self) -> None:
        for _ in range(60):
            chance = self.rng.random()
            if chance < 0.12 and self.order.refused_refund and self.rng.random() < 0.5:
                self.hear_wish(self.rng.choice(DECISIONS))
            elif chance < 0.12 and self.wishes:
                self.hear_wish(self.wishes.pop())
            elif chance < 0.13:
                self.hear_time(expired=self.rng.random() < 0.3)
            elif chance < 0.133:
                self.close_by_sql()
            elif chance < 0.30:
                self.network.send(*self.payment.happens_at_stripe(ID, self.rng))
            elif message := self.network.take():
                self.deliver(message)
        self.settle()

    def hear_time(self, *, expired: bool) -> None:
        if expired and self.order.state in EXPIRES:
            self.hear(ReservationExpired())
        elif self.order.state in WAITING:
            self.hear(StepTimedOut())

    def hear_wish(self, wish: Message) -> None:
        self.hear(understand(wish, new_message_id(), self.order))

    def close_by_sql(self) -> None:
        """An operator sets the status to cancelled in the database, or the saga state as well."""
        order = self.order
        if OrderStatus.CANCELLED not in STATUS_TRANSITIONS[order.status]:
            return
        change = StatusChange(
            old_status=order.status,
            new_status=OrderStatus.CANCELLED,
            changed_by="database:operator",
            reason=None,
            created_at=NOW + timedelta(seconds=1),
        )
        closed = order._replace(
            status=OrderStatus.CANCELLED,
            state=self.rng.choice([order.state, order.state, State.CANCELLED]),
            history=(*order.history, change),
        )
        if event := follow_up(closed):  # otherwise a person must decide
            self.order = closed
            self.hear(event)

    def settle(self) -> None:
        """Let everything arrive, and time pass where somebody waits."""
        for _ in range(200):
            if message := self.network.take():
                self.deliver(message)
            elif self.order.state in EXPIRES:
                self.hear(ReservationExpired())
            elif self.order.state in WAITING:
                self.network.send(*self.payment.happens_at_stripe(ID, self.rng))
                if self.order.state in WAITING:
                    self.hear(StepTimedOut())
            elif self.order.refused_refund and self.rng.random() < 0.5:
                self.hear_wish(self.rng.choice(DECISIONS))
            else:
                return
        raise AssertionError(f"never came to rest: {self.order.state}")


REST = set(State) - WAITING - EXPIRES
STOCK_OUT = {State.CONFIRMED, State.PROCESSING, State.SHIPPED, State.DELIVERED, State.ARCHIVED}


@pytest.mark.timeout(300)
def test_every_life_ends_with_money_and_stock_where_the_state_says() -> None:
    ends: Counter[State] = Counter()
    taken: Counter[tuple[State, str]] = Counter()
    for seed in range(LIVES):
        life = Life(seed)
        life.live()
        order, stock, money = life.order, life.inventory, life.payment
        ends[order.state] += 1
        taken += life.taken
        told = (
            f"seed {seed}: {order.state}, stock {stock.state}, money {money}, "
            f"settled {order.amount_settled}, refused {order.refused_refund}"
        )

        back = money.refunded + money.lost + (order.amount_settled or 0)
        decided = order.amount_settled is not None or order.refused_refund is not None

        assert stock.restorations <= 1, told
        assert money.captures <= 1, told
        if order.state in STOCK_OUT:
            assert stock.state == "sold", told
            assert money.captures == 1, told
            assert back < money.amount or order.state is State.ARCHIVED, told
            assert order.payment_status in (
                PaymentStatus.PAID,
                PaymentStatus.PARTIALLY_REFUNDED,
                PaymentStatus.REFUNDED,
            ), told
        else:
            assert stock.state in ("restored", "rejected", "sold"), told
            if stock.state == "sold":  # refunded, and the goods were kept
                assert order.state in (State.REFUNDED, State.ARCHIVED_UNDONE), told
            assert money.state in (None, "canceled", "succeeded"), told
            assert money.captures == 0 or back >= money.amount or decided, told
            if money.captures and back >= money.amount:
                assert order.payment_status is PaymentStatus.REFUNDED, told
        assert (order.amount_refunded, order.amount_lost) == (money.refunded, money.lost), told
        assert [change.new_status for change in order.history][-1] is order.status, told

    # The chance that drives this was wide enough to mean something.
    assert ends.keys() == REST
    moves = {
        (state, event.__name__)
        for (state, event), rule in TRANSITIONS.items()
        if isinstance(rule, Go)
    }
    assert moves <= taken.keys(), sorted(moves - taken.keys())


def test_deadlines_cover_exactly_the_states_that_the_table_lets_time_out() -> None:
    timing = Timing(reservation=timedelta(minutes=30), step=timedelta(seconds=15))
    life = Life(0)
    for state in State:
        order = life.order._replace(state=state)
        assert (timing.deadline(order, NOW) is not None) == (state in WAITING | EXPIRES)
