"""Stories about single decisions: given a payment, news comes, expect what is said and called."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.message import Message
from contracts.payment import (
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentUpdated,
    RefundFailed,
    RefundPayment,
)
from services.payment import event_rules, refund_rules, rules, settling
from services.payment.calling import NotThere, deferral, make, pause
from services.payment.model import (
    Call,
    CallKind,
    FailurePolicy,
    Payment,
    Result,
    Status,
    Terms,
    Verdict,
)
from services.payment.provider import (
    Intent,
    MadeRefund,
    StripeRefused,
    StripeRetry,
    StripeUnexpectedState,
)
from tests.payment.bench import (
    AMOUNT,
    charge_refunded,
    dispute_event,
    event,
    intent_event,
    refund,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ORDER = uuid4()
TERMS = Terms()
DECLINED = {
    "code": "card_declined",
    "decline_code": "insufficient_funds",
    "message": "Your card has insufficient funds.",
}


def requested() -> Payment:
    return Payment.requested(ORDER, "anna", AMOUNT, "zar", NOW)


def intent(status: str = "requires_payment_method", id_: str = "pi_1") -> Intent:
    received = AMOUNT if status == "succeeded" else 0
    return Intent(id_, status, AMOUNT, "zar", received, client_secret="secret")


def call(kind: CallKind = CallKind.CREATE_INTENT, *, tries: int = 1, attempts: int = 1) -> Call:
    return Call(
        order_id=ORDER,
        kind=kind,
        parameters={"amount": AMOUNT, "currency": "zar", "refund_id": str(ORDER)},
        key="key",
        generation=1,
        look_first=False,
        spent_for=0.0,
        attempts=attempts,
        tries=tries,
        key_age=0.0,
        created_at=NOW,
        traceparent=None,
        payment_intent_id=None,
        lease_token=uuid4(),
    )


def opened() -> Payment:
    payment = requested()
    rules.next_call(payment)
    rules.answered(payment, call(), intent(), TERMS)
    return payment


def kinds(verdict: Verdict) -> list[type[Message]]:
    return [type(message) for message in verdict.messages]


def hear(payment: Payment, type_: str, policy: FailurePolicy = "cancel") -> Verdict:
    error = DECLINED if type_ == "payment_failed" else None
    news = intent_event(type_, "pi_1", ORDER, error=error)
    return event_rules.decide(payment, news, Terms(policy))


def test_the_answer_of_stripe_opens_the_payment() -> None:
    payment = requested()
    assert rules.next_call(payment) is not None
    verdict = rules.answered(payment, call(), intent(), TERMS)
    assert kinds(verdict) == [PaymentIntentCreated]
    assert payment.status is Status.OPEN


def test_a_provider_that_succeeds_at_once_says_only_that() -> None:
    payment = requested()
    verdict = rules.answered(payment, call(), intent("succeeded"), TERMS)
    assert kinds(verdict) == [PaymentSucceeded]


def test_an_amount_that_stripe_refuses_fails_the_payment_in_its_words() -> None:
    payment = requested()
    refusal = StripeRefused("Amount must be at least R 10.00", "amount_too_small")
    verdict = rules.answered(payment, call(), refusal, TERMS)
    (failed,) = verdict.messages
    assert isinstance(failed, PaymentFailed)
    assert (failed.message, failed.code) == ("Amount must be at least R 10.00", "amount_too_small")
    assert kinds(rules.cancel(payment, never_started=False)) == [PaymentCanceled]


def test_cancelling_while_the_intent_is_being_made_cancels_it_when_it_is_there() -> None:
    payment = requested()
    rules.next_call(payment)
    assert kinds(rules.cancel(payment, never_started=False)) == []
    assert rules.next_call(payment) is None, "the creation is still under way"
    assert kinds(rules.answered(payment, call(), intent(), TERMS)) == []
    following = rules.next_call(payment)
    assert following is not None
    assert following.kind is CallKind.CANCEL_INTENT
    verdict = rules.answered(payment, call(CallKind.CANCEL_INTENT), intent("canceled"), TERMS)
    assert kinds(verdict) == [PaymentCanceled]


def test_cancelling_crosses_success_and_the_payment_wins() -> None:
    payment = opened()
    rules.cancel(payment, never_started=False)
    answer = StripeUnexpectedState(intent("succeeded"))
    verdict = rules.answered(payment, call(CallKind.CANCEL_INTENT), answer, TERMS)
    assert kinds(verdict) == [PaymentSucceeded]
    assert hear(payment, "succeeded").messages == []


def test_cancelling_while_stripe_processes_is_tried_again_only_when_asked() -> None:
    payment = opened()
    rules.cancel(payment, never_started=False)
    rules.next_call(payment)
    answer = StripeUnexpectedState(intent("processing"))
    for _ in range(2):
        verdict = rules.answered(payment, call(CallKind.CANCEL_INTENT), answer, TERMS)
        assert kinds(verdict) == [PaymentUpdated]
        assert rules.next_call(payment) is None
        rules.cancel(payment, never_started=False)
        again = rules.next_call(payment)
        assert again is not None
    assert again
    assert again.idempotency_key.endswith(":4:cancel_intent"), "a stored answer must not come back"


@pytest.mark.parametrize("late", ["created", "processing", "requires_action", "payment_failed"])
@pytest.mark.parametrize("end", ["succeeded", "canceled"])
def test_late_news_never_overwrites_an_end(end: str, late: str) -> None:
    payment = opened()
    hear(payment, end)
    before = replace(payment)
    verdict = hear(payment, late)
    assert verdict.outcome is Result.STALE
    assert payment == before


def test_a_declined_attempt_fails_the_payment_once_per_failure() -> None:
    payment = opened()
    verdict = hear(payment, "payment_failed")
    (failed,) = verdict.messages
    assert isinstance(failed, PaymentFailed)
    assert failed.message == "Your card has insufficient funds."
    assert failed.code == "insufficient_funds"
    assert payment.status is Status.FAILED
    assert kinds(hear(payment, "succeeded")) == [PaymentSucceeded], "success wins"


def test_with_policy_retry_a_declined_attempt_only_shows() -> None:
    payment = opened()
    (updated,) = hear(payment, "payment_failed", "retry").messages
    assert isinstance(updated, PaymentUpdated)
    assert updated.message == "Your card has insufficient funds."
    assert payment.status is Status.OPEN


def test_processing_and_authentication_show_once() -> None:
    payment = opened()
    assert kinds(hear(payment, "requires_action")) == [PaymentUpdated]
    assert kinds(hear(payment, "processing")) == [PaymentUpdated]
    assert kinds(hear(payment, "processing")) == []


@pytest.mark.parametrize(
    ("received", "currency", "livemode", "intent_id"),
    [
        (AMOUNT - 1, "zar", False, "pi_1"),
        (AMOUNT, "usd", False, "pi_1"),
        (AMOUNT, "zar", True, "pi_1"),
        (AMOUNT, "zar", False, "pi_2"),
    ],
)
def test_a_success_that_does_not_match_goes_to_people(
    received: int, currency: str, livemode: bool, intent_id: str
) -> None:
    payment = opened()
    news = intent_event(
        "succeeded", intent_id, ORDER, received=received, currency=currency, livemode=livemode
    )
    verdict = event_rules.decide(payment, news, TERMS)
    assert verdict.outcome is Result.PARKED
    assert verdict.messages == []
    assert payment.status is Status.OPEN


def test_a_success_after_cancellation_is_asked_for_and_then_believed() -> None:
    payment = opened()
    hear(payment, "canceled")
    assert hear(payment, "succeeded").outcome is Result.CHECKING
    following = rules.next_call(payment)
    assert following is not None
    assert following.kind is CallKind.RETRIEVE_INTENT
    truth = replace(intent("succeeded"), amount_refunded=0)
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), truth, TERMS)
    assert kinds(verdict) == [PaymentSucceeded]
    assert payment.status is Status.CANCELED, "an end state does not reopen"
    assert payment.left_to_refund == AMOUNT


def test_a_false_success_after_cancellation_changes_nothing() -> None:
    payment = opened()
    hear(payment, "canceled")
    hear(payment, "succeeded")
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), intent("canceled"), TERMS)
    assert verdict.messages == []
    assert payment.amount_received == 0


def test_the_webhook_comes_before_the_answer_of_the_api() -> None:
    payment = requested()
    rules.next_call(payment)
    assert hear(payment, "created").outcome is Result.APPLIED
    assert kinds(hear(payment, "succeeded")) == [PaymentSucceeded]
    assert kinds(rules.answered(payment, call(), intent(), TERMS)) == []
    assert payment.status is Status.SUCCEEDED
    assert payment.client_secret == "secret"


def test_of_two_intents_the_one_that_an_event_told_of_stands() -> None:
    payment = requested()
    rules.next_call(payment)
    hear(payment, "created")
    assert kinds(rules.answered(payment, call(), intent(id_="pi_2"), TERMS)) == []
    following = rules.next_call(payment)
    assert following is not None
    assert following.kind is CallKind.RETRIEVE_INTENT
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), intent(), TERMS)
    assert kinds(verdict) == [PaymentIntentCreated]


def test_a_refund_that_was_heard_of_before_the_success_asks_for_both() -> None:
    payment = opened()
    assert event_rules.decide(payment, charge_refunded("pi_1", 500), TERMS).messages == []
    truth = replace(intent("succeeded"), amount_refunded=500)
    rules.next_call(payment)
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), truth, TERMS)
    assert [message.wire_type for message in verdict.messages] == [
        "payment.payment-succeeded.v1",
        "payment.payment-partially-refunded.v1",
    ]


def test_a_refund_that_fails_gives_the_claim_back() -> None:
    payment = opened()
    hear(payment, "succeeded")
    event_rules.decide(payment, charge_refunded("pi_1", AMOUNT), TERMS)
    assert payment.amount_refunded == AMOUNT
    failed = event(
        "refund.failed",
        {"id": "re_1", "object": "refund", "amount": AMOUNT, "payment_intent": "pi_1"},
    )
    assert event_rules.decide(payment, failed, TERMS).outcome is Result.CHECKING
    rules.next_call(payment)
    truth = replace(intent("succeeded"), amount_refunded=0)
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), truth, TERMS)
    (message,) = verdict.messages
    assert isinstance(message, RefundFailed)
    assert message.amount_refunded == 0
    # The same sum, late and again, is not believed any more.
    late = event_rules.decide(payment, charge_refunded("pi_1", AMOUNT), TERMS)
    assert (late.outcome, late.messages) == (Result.CHECKING, [])


def test_a_repeated_answer_brings_no_old_sum_of_refunds() -> None:
    payment = opened()
    rules.cancel(payment, never_started=False)
    old = StripeUnexpectedState(replace(intent("succeeded"), amount_refunded=0))
    hear(payment, "succeeded")
    event_rules.decide(payment, charge_refunded("pi_1", 500), TERMS)
    verdict = rules.answered(payment, call(CallKind.CANCEL_INTENT), old, TERMS)
    assert verdict.messages == []
    assert payment.amount_refunded == 500


def test_a_refund_under_way_that_is_more_than_is_left_leaves_nothing_to_refund() -> None:
    payment = opened()
    hear(payment, "succeeded")
    refund_rules.refund(payment, refund(ORDER), NOW)
    event_rules.decide(payment, charge_refunded("pi_1", 500), TERMS)
    assert payment.left_to_refund == 0
    refund_rules.refund(payment, refund(ORDER), NOW)
    assert len(payment.refunds) == 1


@pytest.mark.parametrize("type_", ["processing", "canceled", "payment_failed"])
def test_an_event_of_the_other_mode_goes_to_people(type_: str) -> None:
    payment = opened()
    news = intent_event(type_, "pi_1", ORDER, livemode=True)
    assert event_rules.decide(payment, news, TERMS).outcome is Result.PARKED
    assert payment.status is Status.OPEN


def test_unknown_types_are_ignored_and_strangers_are_foreign() -> None:
    payment = opened()
    invoice = event("invoice.paid", {"id": "in_1", "object": "invoice"})
    assert event_rules.decide(payment, invoice, TERMS).outcome is Result.IGNORED
    assert event_rules.decide(None, invoice, TERMS).outcome is Result.IGNORED
    stranger = intent_event("succeeded", "pi_9", None)
    assert event_rules.decide(None, stranger, TERMS).outcome is Result.FOREIGN
    lost = event_rules.decide(None, intent_event("succeeded", "pi_9", ORDER), TERMS)
    assert lost.outcome is Result.PARKED
    assert lost.reason == f"there is no payment of order {ORDER}"


@pytest.mark.parametrize("type_", event_rules.TYPES)
def test_an_event_of_interest_whose_object_has_no_id_is_set_aside(type_: str) -> None:
    payment = opened()
    nameless = event(type_, {"object": "payment_intent", "metadata": {"order_id": str(ORDER)}})
    for known in (payment, None):
        verdict = event_rules.decide(known, nameless, TERMS)
        assert (verdict.outcome, verdict.messages) == (Result.PARKED, [])
    assert payment.payment_intent_id == "pi_1"


def test_an_unknown_intent_is_a_problem_and_not_a_cancellation() -> None:
    payment = opened()
    rules.cancel(payment, never_started=False)
    refusal = StripeRefused("No such payment_intent: 'pi_1'", "resource_missing")
    verdict = rules.answered(payment, call(CallKind.CANCEL_INTENT), refusal, TERMS)
    assert kinds(verdict) == [PaymentUpdated]
    assert payment.problem


# -- disputes ----------------------------------------------------------------------------------


def dispute(payment: Payment, what: str, status: str | None, id_: str = "du_1") -> Verdict:
    return event_rules.decide(payment, dispute_event(what, status, "pi_1", id_), TERMS)


def test_a_dispute_is_a_flag_and_nothing_else() -> None:
    payment = opened()
    hear(payment, "succeeded")
    before = replace(payment)
    verdict = dispute(payment, "created", "needs_response")
    assert verdict == Verdict(Result.APPLIED, reason="dispute du_1 (fraudulent) is needs_response")
    assert payment.disputed
    assert replace(payment, disputed=False, disputes={}) == before
    assert payment.audited() != before.audited()
    assert rules.next_call(payment) is None


# -- refusals of refunds -----------------------------------------------------------------------


def refused(code: str | None) -> tuple[Payment, Verdict]:
    """A payment of which Stripe refuses to refund all."""
    payment = opened()
    hear(payment, "succeeded")
    command = RefundPayment(order_id=payment.order_id, refund_id=uuid4(), reason="damaged")
    refund_rules.refund(payment, command, NOW)
    return payment, refund_rules.refused(payment, command.refund_id, "No.", code)


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("charge_disputed", True),
        ("refund_disputed_payment", True),
        ("charge_not_refundable", True),
        ("account_closed", True),
        ("a_code_of_next_year", True),
        ("balance_insufficient", False),
        ("lock_timeout", False),
    ],
)
def test_a_refusal_is_for_good_unless_it_is_known_to_pass(code: str, final: bool) -> None:
    payment, verdict = refused(code)
    (failed,) = verdict.messages
    assert isinstance(failed, RefundFailed)
    assert (failed.code, failed.final) == (code, final)
    again = RefundPayment(order_id=payment.order_id, refund_id=failed.refund_id, reason="damaged")
    answered = refund_rules.refund(payment, again, NOW).messages
    assert answered == ([failed] if final else [])
    assert payment.refunds[again.refund_id].to_make is not final


@pytest.mark.parametrize("code", ["charge_already_refunded", None])
def test_a_refusal_because_our_sums_are_behind_is_decided_by_stripes_sums(
    code: str | None,
) -> None:
    payment, verdict = refused(code)
    assert (verdict.outcome, verdict.messages) == (Result.CHECKING, [])
    (done,) = refund_rules.recount(payment, AMOUNT)
    assert isinstance(done, PaymentRefunded)

    payment, _ = refused(code)
    partly, failed = refund_rules.recount(payment, AMOUNT - 1)
    assert isinstance(partly, PaymentPartiallyRefunded)
    assert isinstance(failed, RefundFailed)
    assert not failed.final  # what is left can be asked for

    payment, _ = refused(code)
    (failed,) = refund_rules.recount(payment, 0)
    assert isinstance(failed, RefundFailed)
    assert failed.final  # Stripe says so, and its sums do not explain it


def test_what_staff_settled_outside_is_not_refunded() -> None:
    payment = opened()
    hear(payment, "succeeded")
    command = RefundPayment(
        order_id=payment.order_id, refund_id=uuid4(), settled_outside=500, reason="damaged"
    )
    refund_rules.refund(payment, command, NOW)
    assert payment.refunds[command.refund_id].amount == AMOUNT - 500


def test_a_dispute_that_is_lost_and_won_after_all_is_money_that_comes_back() -> None:
    payment = opened()
    hear(payment, "succeeded")
    dispute(payment, "created", "needs_response")
    (back,) = dispute(payment, "closed", "lost").messages
    assert isinstance(back, PaymentRefunded)
    assert back.amount_lost == AMOUNT
    (failed,) = dispute(payment, "closed", "won").messages
    assert isinstance(failed, RefundFailed)
    assert (failed.amount_lost, failed.final) == (0, True)


@pytest.mark.parametrize("end", ["won", "lost", "warning_closed", "prevented"])
def test_a_dispute_that_is_over_is_no_flag_and_does_not_come_back(end: str) -> None:
    payment = opened()
    dispute(payment, "created", "needs_response")
    dispute(payment, "updated", "under_review")
    assert payment.disputed
    assert dispute(payment, "closed", end).outcome is Result.APPLIED
    assert not payment.disputed
    for late in (("created", "needs_response"), ("updated", "under_review"), ("closed", end)):
        assert dispute(payment, *late).outcome is Result.STALE
    assert not payment.disputed


def test_a_dispute_is_open_while_any_is() -> None:
    payment = opened()
    dispute(payment, "created", "needs_response")
    dispute(payment, "created", "warning_needs_response", "du_2")
    dispute(payment, "closed", "lost")
    assert payment.disputed
    dispute(payment, "closed", "warning_closed", "du_2")
    assert not payment.disputed


def test_the_news_of_a_dispute_that_comes_last_may_be_old() -> None:
    payment = opened()
    dispute(payment, "updated", "under_review")
    assert dispute(payment, "created", "needs_response").outcome is Result.STALE
    assert payment.disputes == {"du_1": "under_review"}


def test_a_status_that_stripe_may_invent_is_open_and_none_is_for_people() -> None:
    payment = opened()
    assert dispute(payment, "updated", "in_arbitration").outcome is Result.APPLIED
    assert payment.disputed
    assert dispute(payment, "closed", None).outcome is Result.PARKED


def test_stripe_lists_events_of_at_most_20_types() -> None:
    assert len(event_rules.TYPES) <= 20


# -- open too long -----------------------------------------------------------------------------


def test_a_check_asks_stripe_once_and_never_beside_another_call() -> None:
    payment = opened()
    rules.check(payment)
    asked = rules.next_call(payment)
    assert asked is not None
    assert asked.kind is CallKind.RETRIEVE_INTENT
    rules.check(payment)
    assert not payment.check_requested, "its answer is still to come"


@pytest.mark.parametrize("end", ["succeeded", "canceled"])
def test_what_has_ended_needs_no_check(end: str) -> None:
    payment = opened()
    hear(payment, end)
    rules.check(payment)
    assert rules.next_call(payment) is None


@pytest.mark.parametrize("policy", ["cancel", "retry"])
def test_a_decline_that_nobody_told_of_is_found_by_a_check_and_told_once(
    policy: FailurePolicy,
) -> None:
    payment = opened()
    declined = replace(intent(), error_message="Your card has insufficient funds.")
    asked = call(CallKind.RETRIEVE_INTENT)
    told = rules.answered(payment, asked, declined, Terms(policy))
    assert kinds(told) == [PaymentFailed if policy == "cancel" else PaymentUpdated]
    assert payment.failure_message == "Your card has insufficient funds."
    assert rules.answered(payment, asked, declined, Terms(policy)).messages == []


def test_a_check_of_a_payment_that_is_still_open_changes_nothing() -> None:
    payment = opened()
    before = payment.audited()
    verdict = rules.answered(payment, call(CallKind.RETRIEVE_INTENT), intent(), TERMS)
    assert verdict.messages == []
    assert payment.audited() == before


# -- repeating calls ---------------------------------------------------------------------------


@given(st.integers(1, 100), st.none() | st.floats(0, 300), st.floats(0, 1))
def test_pauses_grow_and_honour_retry_after(
    attempts: int, retry_after: float | None, chance: float
) -> None:
    seconds = pause(attempts, retry_after, chance)
    assert seconds >= (retry_after or 0)
    assert 0.1 <= seconds <= max(60.0, retry_after or 0)
    assert pause(attempts + 1, None, chance) >= pause(attempts, None, chance)


@pytest.mark.parametrize(
    ("answer", "tries", "looks"),
    [
        (StripeRetry("timeout"), 9, False),
        (StripeRetry("500", server_error=True), 1, False),
        (StripeRetry("500", server_error=True), 50, False),
        (StripeRetry("500", server_error=True, key_spent=True), 2, True),
    ],
)
def test_a_spent_key_makes_the_next_attempt_look(
    answer: StripeRetry, tries: int, looks: bool
) -> None:
    assert deferral(call(tries=tries), answer, 0.5).look_first is looks


def test_what_is_not_there_gets_a_fresh_key() -> None:
    again = deferral(call(), NotThere(), 0.5)
    assert (again.fresh_key, again.look_first) == (True, False)


class Recorder:
    """A provider that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def create_intent(self, *_: object) -> Intent:
        self.asked.append("create")
        return intent()

    async def cancel_intent(self, *_: object) -> Intent:
        self.asked.append("cancel")
        return intent("canceled")

    async def retrieve_intent(self, *_: object) -> Intent:
        self.asked.append("retrieve")
        return intent()

    async def find_intent(self, *_: object) -> Intent | None:
        self.asked.append("find")
        return None

    async def create_refund(self, *_: object) -> MadeRefund:
        self.asked.append("refund")
        return MadeRefund("re_1", "succeeded", AMOUNT)

    async def find_refund(self, *_: object) -> MadeRefund | None:
        self.asked.append("find refund")
        return None


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({}, "create"),
        ({"tries": 2, "key_age": 10.0}, "create"),
        ({"tries": 1, "key_age": 90_000.0}, "create"),
        ({"tries": 2, "key_age": 90_000.0}, "find"),
        ({"look_first": True}, "find"),
        ({"payment_intent_id": "pi_1"}, "retrieve"),
        ({"kind": CallKind.CANCEL_INTENT, "payment_intent_id": "pi_1"}, "cancel"),
        (
            {"kind": CallKind.CANCEL_INTENT, "payment_intent_id": "pi_1", "look_first": True},
            "retrieve",
        ),
        ({"kind": CallKind.CREATE_REFUND, "payment_intent_id": "pi_1"}, "refund"),
        (
            {"kind": CallKind.CREATE_REFUND, "payment_intent_id": "pi_1", "look_first": True},
            "find refund",
        ),
    ],
)
async def test_which_question_is_asked(change: dict[str, object], asked: str) -> None:
    provider = Recorder()
    await make(provider, replace(call(), **change), 82_800.0)  # type: ignore[arg-type]
    assert provider.asked == [asked]


async def test_an_old_cancellation_that_is_not_there_is_made_again() -> None:
    old = replace(call(CallKind.CANCEL_INTENT), payment_intent_id="pi_1", look_first=True)
    assert isinstance(await make(Recorder(), old, 0.0), NotThere)


def test_settle_is_given_the_same_twice() -> None:
    payment = opened()
    first = settling.settle(payment, intent("succeeded"), TERMS, asked=False)
    second = settling.settle(payment, intent("succeeded"), TERMS, asked=False)
    assert kinds(first) == [PaymentSucceeded]
    assert kinds(second) == []
