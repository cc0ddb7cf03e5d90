"""All that may happen in the world: a Hypothesis state machine. See `world` for what is modelled.

People, faults of the network and of Stripe, and time, in any order; in between things go on for a
while without faults, so that orders get far enough to have something to lose.
"""

import sys
from datetime import timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from contracts.inventory import (
    ReserveStock,
    RestoreStock,
    StockRejected,
    StockReserved,
    StockRestored,
)
from contracts.payment import (
    CancelPayment,
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    RefundPayment,
    RequestPayment,
)
from contracts.topics import ORDER_COMMANDS, STRIPE_WEBHOOKS
from services.payment.model import FailurePolicy
from tests.saga.agreement import check_always, check_at_rest
from tests.saga.network import Place
from tests.saga.people import STOCK, People, carts, one_of, pick, when
from tests.saga.stripe import Fate
from tests.saga.world import World

ASKED_AGAIN = {
    message.wire_type
    for message in (
        *(ReserveStock, RestoreStock, RequestPayment, CancelPayment, RefundPayment),
        *(StockReserved, StockRejected, StockRestored),
        *(PaymentIntentCreated, PaymentCanceled, PaymentFailed),
    )
}
"""What may be lost: the saga asks again for as long as it waits for it."""

fates = st.sampled_from([Fate.ANSWERED, *Fate])


class Shop(People):
    @initialize(
        policy=st.sampled_from(["cancel", "retry"]),
        cart=carts,
        steps=st.integers(0, 40),
        well=st.booleans(),
    )
    def open(self, policy: FailurePolicy, cart: dict[UUID, int], steps: int, well: bool) -> None:
        self.world = World(STOCK, policy)
        self.somebody_orders(cart, cancels_before=False)
        if well:
            self.things_go_well(steps)
        else:
            self.things_go_on(steps, Fate.ANSWERED)

    # -- the network, without and with faults

    @rule(steps=st.integers(1, 6), fate=fates)
    def things_go_on(self, steps: int, fate: Fate) -> None:
        for _ in range(steps):
            self.world.goes_on(fate)

    @rule(steps=st.integers(1, 12))
    def things_go_well(self, steps: int) -> None:
        for _ in range(steps):
            if not self.world.goes_on() and self.payable:
                self.world.stripe.move(self.payable[0], "succeeded")

    @when(lambda self: self.world.network.waiting())
    @rule(which=pick)
    def a_record_arrives(self, which: int) -> None:
        self.world.deliver(one_of(self.world.network.waiting(), which))

    @when(lambda self: self.world.network.waiting())
    @rule(which=pick)
    def a_batch_arrives(self, which: int) -> None:
        """All first records of one service, one per key: what the kit calls a wave."""
        places = self.world.network.waiting()
        topics = self.world.service_of(one_of(places, which)[0]).topics
        by_key = {place[1]: place for place in places if place[0] in topics}
        self.world.deliver(*by_key.values())

    @when(lambda self: self.world.network.waiting())
    @rule(which=pick, same_id=st.booleans())
    def a_record_will_come_again(self, which: int, same_id: bool) -> None:
        topic, key = one_of(self.world.network.waiting(), which)
        asked_once = (ORDER_COMMANDS.name, STRIPE_WEBHOOKS.name)  # by people, and under one id
        self.world.network.copy((topic, key), same_id=same_id or topic in asked_once)

    @when(lambda self: self.world.network.late)
    @rule(which=pick)
    def a_copy_is_sent(self, which: int) -> None:
        self.world.network.publish_late(which % len(self.world.network.late))

    @when(lambda self: self.delayable)
    @rule(which=pick)
    def a_record_is_late(self, which: int) -> None:
        self.world.network.delay(one_of(self.delayable, which))

    @when(lambda self: self.losable)
    @rule(which=pick)
    def a_record_is_lost(self, which: int) -> None:
        self.world.network.take(one_of(self.losable, which))

    # -- calls to Stripe and its webhooks

    @when(lambda self: self.world.stripe.undelivered)
    @rule(which=pick, again=st.booleans())
    def a_webhook_arrives(self, which: int, again: bool) -> None:
        self.world.webhook_arrives(which % len(self.world.stripe.undelivered), again=again)

    @when(lambda self: self.world.calls_due())
    @rule(fate=fates)
    def stripe_is_called(self, fate: Fate) -> None:
        self.world.call_stripe(fate)

    @when(lambda self: self.world.answers)
    @rule(which=pick)
    def an_answer_is_recorded(self, which: int) -> None:
        self.world.record_answer(which % len(self.world.answers))

    @when(lambda self: self.unsettled)
    @rule(which=pick)
    def a_payment_is_checked(self, which: int) -> None:
        self.world.check_payment(one_of(self.unsettled, which))

    # -- time

    @rule(seconds=st.sampled_from([1, 20, 20, 20, 120, 120, 1800]))
    def time_passes(self, seconds: int) -> None:
        self.world.time_passes(self.world.now + timedelta(seconds=seconds))

    # -- what must hold

    @invariant()
    def it_adds_up(self) -> None:
        check_always(self.world)

    def teardown(self) -> None:
        if sys.exc_info()[0] is None:  # otherwise that is the failure to tell
            self.world.heal()
            check_always(self.world)
            check_at_rest(self.world)

    # -- what there is to choose from

    @property
    def unsettled(self) -> list[UUID]:
        return [it.order_id for it in self.world.payments.payments.values() if not it.ended]

    @property
    def delayable(self) -> list[Place]:
        return [place for place in self.world.network.waiting() if place[0] != ORDER_COMMANDS.name]

    @property
    def losable(self) -> list[Place]:
        return [place for place in self.world.network.waiting() if self._is_asked_again(place)]

    def _is_asked_again(self, place: tuple[str, str]) -> bool:
        sent = self.world.network.first(place)
        if sent.type not in ASKED_AGAIN:
            return False
        # A part of the money is refunded once: staff see whether anything comes of it.
        return sent.type != RefundPayment.wire_type or '"amount":null' in sent.payload
