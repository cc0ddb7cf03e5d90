"""News about a payment in any order, twice, late, or not at all: the money ends up in the books.

Stripe is a small model here: an intent, its charge, its refunds. Events are snapshots that a
network shuffles and doubles; calls are answered from the model, sometimes only after a lost answer.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contracts.message import Message
from contracts.payment import (
    PaymentCanceled,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
)
from contracts.stripe import StripeEventReceived
from services.payment import event_rules, refund_rules, rules
from services.payment.model import (
    ENDS,
    Call,
    CallKind,
    NewCall,
    Payment,
    Result,
    Status,
    Terms,
    Verdict,
)
from services.payment.provider import Intent, MadeRefund, StripeRefused, StripeUnexpectedState
from tests.payment.bench import AMOUNT, dispute_event, event, refund

TERMS = Terms()
NOW = datetime(2026, 11, 24, tzinfo=UTC)


class Stripe:
    """What is true. Keys remember answers, as Stripe's do."""

    def __init__(self, order_id: UUID) -> None:
        self.order_id = order_id
        self.status: str | None = None
        self.refunds: dict[str, tuple[int, str, str | None]] = {}
        self.events: list[StripeEventReceived] = []
        self.answers: dict[str, Any] = {}
        self.disputes: dict[str, str] = {}

    @property
    def refunded(self) -> int:
        return sum(amount for amount, status, _ in self.refunds.values() if status != "failed")

    @property
    def received(self) -> int:
        return AMOUNT if self.status == "succeeded" else 0

    def intent(self) -> Intent:
        assert self.status
        return Intent(
            id="pi_1",
            status=self.status,
            amount=AMOUNT,
            currency="zar",
            amount_received=self.received,
            client_secret="secret",
            amount_refunded=self.refunded if self.received else None,
        )

    def emit(self, type_: str) -> None:
        self.events.append(
            event(
                f"payment_intent.{type_}",
                {
                    "id": "pi_1",
                    "object": "payment_intent",
                    "amount": AMOUNT,
                    "amount_received": self.received,
                    "currency": "zar",
                    "last_payment_error": {"message": "Your card was declined."}
                    if type_ == "payment_failed"
                    else None,
                    "metadata": {"order_id": str(self.order_id)},
                },
            )
        )

    def dispute(self, id_: str, what: str, status: str) -> None:
        self.disputes[id_] = status
        self.events.append(dispute_event(what, status, "pi_1", id_))

    def emit_charge_refunded(self) -> None:
        self.events.append(
            event(
                "charge.refunded",
                {
                    "id": "ch_1",
                    "object": "charge",
                    "amount_refunded": self.refunded,
                    "payment_intent": "pi_1",
                },
            )
        )

    def answer(self, call: Call) -> Any:
        if call.key not in self.answers:
            self.answers[call.key] = self._effect(call)
        if call.kind is CallKind.RETRIEVE_INTENT:
            return self.intent()
        return self.answers[call.key]

    def _effect(self, call: Call) -> Any:
        match call.kind:
            case CallKind.CREATE_INTENT:
                assert self.status is None, "one order, one intent"
                self.status = "requires_payment_method"
                self.emit("created")
            case CallKind.CANCEL_INTENT:
                if self.status in ("succeeded", "canceled", "processing"):
                    return StripeUnexpectedState(self.intent())
                self.status = "canceled"
                self.emit("canceled")
            case CallKind.CREATE_REFUND:
                amount = call.parameters["amount"]
                left = self.received - self.refunded
                if not left:
                    return StripeRefused("already", "charge_already_refunded")
                if amount > left:
                    return StripeRefused("too much")
                return self.make_refund(amount, call.parameters["refund_id"])
        return self.intent()

    def make_refund(self, amount: int, refund_id: str | None = None) -> MadeRefund:
        id_ = f"re_{len(self.refunds)}"
        self.refunds[id_] = (amount, "succeeded", refund_id)
        self.emit_charge_refunded()
        return MadeRefund(id_, "succeeded", amount, self.refunded)

    def fail_refund(self, id_: str) -> None:
        amount, _, refund_id = self.refunds[id_]
        self.refunds[id_] = (amount, "failed", refund_id)
        metadata = {"refund_id": refund_id} if refund_id else {}
        self.events.append(
            event(
                "refund.failed",
                {
                    "id": id_,
                    "object": "refund",
                    "status": "failed",
                    "amount": amount,
                    "payment_intent": "pi_1",
                    "metadata": metadata,
                },
            )
        )


class AnyOrder(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.order_id = uuid4()
        self.stripe = Stripe(self.order_id)
        self.payment = Payment.requested(self.order_id, "anna", AMOUNT, "zar", NOW)
        self.queue: list[NewCall] = []
        self.tries = 0
        self.delivered: list[StripeEventReceived] = []
        self.pending: list[StripeEventReceived] = []
        self.said: list[Message] = []
        self.late = False
        self.ended: Status | None = None
        self._note(Verdict(Result.APPLIED))

    def _note(self, verdict: Verdict) -> None:
        self.said += verdict.messages
        if call := rules.next_call(self.payment):
            assert not self.queue, "one call per order at a time"
            self.queue.append(call)
        self.pending += self.stripe.events
        self.stripe.events = []

    # -- what the customer, the bank and the shop do

    @precondition(lambda self: self.stripe.status in ("requires_payment_method", "requires_action"))
    @rule(how=st.sampled_from(["succeeded", "processing", "payment_failed", "requires_action"]))
    def pay(self, how: str) -> None:
        self.stripe.status = "requires_payment_method" if how == "payment_failed" else how
        self.stripe.emit(how)
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: self.stripe.status == "processing")
    @rule(success=st.booleans())
    def settle_processing(self, success: bool) -> None:
        self.stripe.status = "succeeded" if success else "requires_payment_method"
        self.stripe.emit("succeeded" if success else "payment_failed")
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: self.stripe.status == "canceled")
    @rule()
    def money_arrives_after_the_cancellation(self) -> None:
        self.stripe.status = "succeeded"
        self.late = True
        self.stripe.emit("succeeded")
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: self.stripe.received > self.stripe.refunded)
    @rule()
    def refund_in_dashboard(self) -> None:
        self.stripe.make_refund(min(1_000, self.stripe.received - self.stripe.refunded))
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: any(s != "failed" for _, s, _ in self.stripe.refunds.values()))
    @rule(data=st.data())
    def a_refund_fails(self, data: st.DataObject) -> None:
        standing = [
            id_ for id_, (_, status, _) in self.stripe.refunds.items() if status != "failed"
        ]
        self.stripe.fail_refund(data.draw(st.sampled_from(standing)))
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: self.stripe.received and len(self.stripe.disputes) < 2)
    @rule()
    def the_bank_disputes(self) -> None:
        number = len(self.stripe.disputes)
        self.stripe.dispute(f"du_{number}", "created", "needs_response")
        self._note(Verdict(Result.APPLIED))

    @precondition(lambda self: self.open_disputes())
    @rule(status=st.sampled_from(["under_review", "won", "lost"]))
    def a_dispute_goes_on(self, status: str) -> None:
        id_ = next(id_ for id_, now in self.stripe.disputes.items() if now not in ("won", "lost"))
        what = "updated" if status == "under_review" else "closed"
        self.stripe.dispute(id_, what, status)
        self._note(Verdict(Result.APPLIED))

    def open_disputes(self) -> set[str]:
        return set(self.stripe.disputes.values()) - {"won", "lost"}

    @rule()
    def nothing_was_heard_for_long(self) -> None:
        self._note(rules.check(self.payment))

    @rule()
    def order_cancels(self) -> None:
        never = self.payment.status is Status.CREATING and bool(self.queue) and self.tries == 0
        if never:
            self.queue.clear()
        self._note(rules.cancel(self.payment, never_started=never))

    @rule(amount=st.sampled_from([None, 2_500, 20_000]))
    def order_refunds(self, amount: int | None) -> None:
        self._note(refund_rules.refund(self.payment, refund(self.order_id, amount=amount), NOW))

    # -- what the network does

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self._deliver(self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1))))

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def deliver_again_under_another_id(self, data: st.DataObject) -> None:
        # Harder than what Stripe does: its repeats carry the same id and are told by it.
        again = data.draw(st.sampled_from(self.delivered))
        if again.event_type != "payment_intent.payment_failed":
            self._deliver(again)

    def _deliver(self, news: StripeEventReceived) -> None:
        self.delivered.append(news)
        self._note(event_rules.decide(self.payment, news, TERMS))

    @precondition(lambda self: self.queue)
    @rule(answer_lost=st.booleans())
    def call_stripe(self, answer_lost: bool) -> None:
        new = self.queue[0]
        self.tries += 1
        call = Call(
            new.order_id,
            new.kind,
            new.parameters,
            new.idempotency_key,
            1,
            False,
            0.0,
            self.tries,
            self.tries,
            0.0,
            NOW,
            None,
            self.payment.payment_intent_id,
            self.order_id,
        )
        if call.kind is CallKind.CREATE_INTENT and self.payment.payment_intent_id:
            answer = self.stripe.intent()
        else:
            answer = self.stripe.answer(call)
        if answer_lost:
            self._note(Verdict(Result.APPLIED))
            return
        self.queue.clear()
        self.tries = 0
        self._note(rules.answered(self.payment, call, answer, TERMS))

    # -- what must hold

    @invariant()
    def ends_stay(self) -> None:
        if not hasattr(self, "payment"):
            return
        if self.ended is not None:
            assert self.payment.status is self.ended
        if self.payment.status in ENDS:
            self.ended = self.payment.status

    @invariant()
    def the_database_would_take_it(self) -> None:
        if hasattr(self, "payment"):
            assert self.payment.amount_received in (0, AMOUNT)
            assert 0 <= self.payment.amount_refunded <= self.payment.amount_received

    def teardown(self) -> None:
        """Let everything arrive; then the books say what is true."""
        if not hasattr(self, "payment"):
            return
        for _ in range(100):
            if self.pending:
                self._deliver(self.pending.pop())
            elif self.queue:
                self.call_stripe(answer_lost=False)
            else:
                break
        else:
            raise AssertionError("it never comes to rest")
        payment, stripe = self.payment, self.stripe
        assert payment.amount_received == stripe.received
        assert payment.amount_refunded == stripe.refunded
        assert not payment.problem
        assert payment.disputed == bool(self.open_disputes())
        assert payment.disputes == stripe.disputes
        kinds = [type(message) for message in self.said]
        assert PaymentCanceled not in kinds or stripe.status in ("canceled", None) or self.late
        assert (PaymentSucceeded in kinds) == bool(stripe.received)
        sums = [
            message.amount_refunded
            for message in self.said
            if isinstance(message, PaymentRefunded | PaymentPartiallyRefunded)
        ]
        assert max(sums, default=0) >= payment.amount_refunded
        assert payment.status is not Status.CREATING


AnyOrder.TestCase.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
TestAnyOrder: Callable[[], Any] = AnyOrder.TestCase
