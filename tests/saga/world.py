"""The whole system in one process: the services' real handlers, joined by a network that errs.

Real is every decision: the handlers, the order's sweeper and what is made of Stripe's answers
(`services.*`), how a message is encoded and decoded, and the inbox's rule that an id counts once.
In memory are the tables (`tables`), Stripe (`stripe`), the clock and the network:

- A record waits in the queue of its topic and key for as long as chance will have it; between
  topics and keys there is no order. Several first records of a service may be one batch.
- A record may come late, overtaken by those behind it: so does an outbox row that a crash left
  behind. Only what people ask keeps its order, since nothing but a person may ask for an order that
  is not there yet.
- Copies come at any time: the same record again (same id), and the same message as somebody sends
  it who asks or answers again (another id).
- Records are lost where the saga's timers ask again. Kafka loses nothing; an answer that never
  comes is harder.
- Stripe's webhooks come in any order, late and repeated (a lost one is found in Stripe's list, and
  so is late). Its calls fail before or after their effect; their answers come late, also when the
  lease has ended and another worker has repeated the call.

Not modelled: the broker's and the databases' own failures, administration of products, the gateway.
"""

from collections import defaultdict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from contracts.message import Message
from contracts.order import OrderStatus, PlaceOrder, RetryRefund, SettleRefund
from services.inventory import handlers as inventory
from services.inventory.rules import LockedProduct
from services.kit.db import Connection
from services.kit.messages import Incoming, Outgoing, Record, decode
from services.kit.work import Handler, Work
from services.order.deadlines import Timing
from services.order.handlers import OrderHandlers
from services.order.sweeper import sweep_deadlines
from services.payment import handlers as payment
from services.payment.calling import make
from services.payment.changes import Cause, Changes
from services.payment.charging import LEASE, Finished, record
from services.payment.model import FailurePolicy, Terms
from services.payment.rules import check
from tests.saga.network import Network, Place
from tests.saga.payment_tables import PaymentDatabase
from tests.saga.stripe import PASSES, Fate, StripeInMemory
from tests.saga.tables import InventoryTables, OrderTables

T = TypeVar("T")

NOON: Final = datetime(2026, 5, 1, 12, tzinfo=UTC)
TIMING: Final = Timing(reservation=timedelta(minutes=30), step=timedelta(seconds=15))
KEY_LIFETIME: Final = timedelta(hours=23).total_seconds()


def run(waiting: Awaitable[T]) -> T:
    """The result of a coroutine that never has to wait: nothing here does I/O."""
    steps = waiting.__await__()
    try:
        next(steps)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("it waits for something")


def _received(sent: Outgoing) -> Record:
    headers = tuple(sent.kafka_headers())
    return Record(sent.topic, 0, 0, sent.key, headers, sent.payload.encode())


@dataclass
class Service:
    name: str
    tables: Any
    handlers: Mapping[type[Message], Handler]
    inbox: set[UUID] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.accepted = {message.wire_type: message for message in self.handlers}
        self.topics = {message.topic.name for message in self.handlers}


class World:
    """`stock` is the opening stock by product, `policy` what a declined payment means.

    Raises AssertionError wherever a message is parked: nothing here is a person's fault.
    """

    def __init__(self, stock: Mapping[UUID, int], policy: FailurePolicy) -> None:
        self.now = NOON
        self.terms = Terms(policy)
        self.stock = dict(stock)
        self.stripe = StripeInMemory(self.now)
        self.orders = OrderTables()
        self.inventory = InventoryTables(
            {
                id_: LockedProduct(
                    id_, f"Print {id_.int}", 1000, "zar", True, False, quantity, False
                )
                for id_, quantity in stock.items()
            }
        )
        self.payments = PaymentDatabase(now=self.now)
        self._order_handlers = OrderHandlers(TIMING)
        self._order = Service("order", self.orders, self._order_handlers.by_message())
        self._inventory = Service("inventory", self.inventory, inventory.handlers(timedelta(0)))
        self._payment = Service(
            "payment", self.payments, payment.handlers(self.terms, lambda: None)
        )
        self.services = self._order, self._inventory, self._payment
        self.network = Network({topic for service in self.services for topic in service.topics})
        self.placed: list[UUID] = []
        self.answers: list[Finished] = []
        """Stripe's, on their way back to the worker that called."""

    # -- messages

    def place(self, order: PlaceOrder) -> None:
        self.placed.append(order.order_id)
        self.send(order)

    def send(self, message: Message, *, message_id: UUID | None = None) -> None:
        """From the gateway."""
        time = self.now.isoformat()
        self.network.publish(
            Outgoing.of(message, source="gateway", time=time, message_id=message_id)
        )

    def service_of(self, topic: str) -> Service:
        return next(service for service in self.services if topic in service.topics)

    def deliver(self, *places: Place) -> None:
        """The first record of each of these places, for one service and of different keys."""
        service = self.service_of(places[0][0])
        work = self._work(service)
        by_handler: dict[Handler, list[Incoming[Any]]] = defaultdict(list)
        for place in places:
            item = decode(_received(self.network.take(place)), service.accepted)
            assert isinstance(item, Incoming), item
            if item.envelope.id not in service.inbox:
                service.inbox.add(item.envelope.id)
                by_handler[service.handlers[type(item.message)]].append(item)
        for handler, items in by_handler.items():
            run(handler(work, items))
        self._commit(work)

    def _work(self, service: Service) -> Work:
        work = Work(cast("Connection", service.tables), service.name)
        work.now = self.now
        return work

    def _commit(self, work: Work) -> None:
        assert not work.to_park, [f"parked: {entry.reason}" for entry in work.to_park]
        for outgoing in work.outgoing:
            self.network.publish(outgoing)

    # -- Stripe

    def webhook_arrives(self, number: int, *, again: bool) -> None:
        """One of the undelivered events; `again`: Stripe did not see our 200."""
        event = self.stripe.undelivered[number]
        if not again:
            del self.stripe.undelivered[number]
        self.send(event, message_id=event.message_id)

    def call_stripe(self, fate: Fate = Fate.ANSWERED) -> None:
        """A worker makes the call that is due for longest; its outcome is still to be recorded."""
        (call,) = run(self.payments.claim_calls(1, LEASE))
        self.stripe.fate = fate
        self.answers.append(Finished(call, run(make(self.stripe, call, KEY_LIFETIME))))
        self.stripe.fate = Fate.ANSWERED

    def calls_due(self) -> bool:
        return any(call.next_attempt_at <= self.now for call in self.payments.calls.values())

    def record_answer(self, number: int = 0) -> None:
        work = self._work(self._payment)
        run(record(work, [self.answers.pop(number)], self.terms))
        self._commit(work)

    def check_payment(self, order_id: UUID) -> None:
        """Nothing was heard of it for long: Stripe is to be asked."""
        work = self._work(self._payment)
        changes = Changes(work)
        run(changes.lock([order_id]))
        changes.apply(changes[order_id], Cause("payment.check", "payment:check", None), check)
        run(changes.save())
        self._commit(work)

    # -- time

    def time_passes(self, until: datetime) -> None:
        """The clock goes on, and the order service looks what is overdue."""
        self.now = self.stripe.now = self.payments.now = until
        work = self._work(self._order)
        run(sweep_deadlines(work, self._order_handlers))
        assert not self.orders.stuck, f"cannot be advanced: {self.orders.stuck}"
        self._commit(work)

    def next_deadline(self) -> datetime | None:
        """When something is overdue next."""
        orders = [stored.timer.deadline_at for stored in self.orders.orders.values()]
        calls = [call.next_attempt_at for call in self.payments.calls.values()]
        return min([at for at in (*orders, *calls) if at], default=None)

    # -- without faults

    def goes_on(self, fate: Fate = Fate.ANSWERED) -> bool:
        """One thing that is under way arrives, a call to Stripe with this fate.

        False: there is none.
        """
        if places := self.network.waiting():
            self.deliver(places[0])
        elif self.answers:
            self.record_answer()
        elif self.calls_due():
            self.call_stripe(fate)
        elif self.stripe.undelivered:
            self.webhook_arrives(0, again=False)
        elif self.network.late:
            self.network.publish_late()
        else:
            return False
        return True

    def heal(self) -> None:
        """No more faults: let everything arrive and time pass until nothing is under way.

        A bank decides at last about what it is processing, the Stripe balance is filled up, and
        staff decide about refunds that were refused for good: no timer does that. What Stripe still
        refuses they settle outside.
        """
        for intent in self.stripe.intents:
            intent.refusal = None if intent.refusal == PASSES else intent.refusal
        for _ in range(2_000):
            if self.goes_on():
                continue
            processing = [it for it in self.stripe.intents if it.status == "processing"]
            if processing:
                self.stripe.move(processing[0], "succeeded")
            elif deadline := self.next_deadline():
                self.time_passes(max(deadline, self.now))
            elif not self._staff_decide():
                return
        states = [stored.order.state for stored in self.orders.orders.values()]
        raise AssertionError(f"I5: never comes to rest: {states}")

    def _staff_decide(self) -> bool:
        for intent in self.stripe.intents:
            order = self.orders.orders[intent.order_id].order
            if order.refused_refund is None:
                continue
            who = {"order_id": order.id, "requested_by": "staff", "reason": "decided"}
            if order.status is OrderStatus.ARCHIVED or intent.refusal_now:
                self.send(SettleRefund(**who, amount=order.refused_amount or 0))
            else:
                self.send(RetryRefund(**who))
            return True
        return False
