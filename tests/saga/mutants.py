"""The system with one protection taken away, one way after another: the world must notice each.

A mutant patches a decision where its caller finds it.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import pytest

from contracts.inventory import ReserveStock, RestoreStock
from contracts.order import OrderItem
from contracts.payment import PaymentCanceled, PaymentRefunded, PaymentSucceeded
from services.inventory import handlers as inventory_handlers
from services.inventory import rules as inventory_rules
from services.inventory.rules import Outcome, PutBack, Request, Reserved, Restored
from services.order import refunds
from services.order.commands import cancel_payment, commit_stock, restore_stock
from services.order.events import (
    CustomerCancels,
    RefundRefused,
    RefusedWhenConfirmed,
    StepTimedOut,
)
from services.order.order import State
from services.order.saga import TRANSITIONS, Rule, Stay, go
from services.payment import charging, replies, settling
from services.payment import rules as payment_rules
from services.payment.call_queue import Deferral
from services.payment.calling import NotThere
from services.payment.model import Call, Payment, Result, Status, Terms, Verdict
from services.payment.provider import Intent, StripeRetry
from services.payment.settling import said

Break = Callable[[pytest.MonkeyPatch], None]


class Mutant(NamedTuple):
    name: str
    apply: Break


def row(state: State, event: type, rule: Rule) -> Break:
    """Another rule in the saga's table."""
    return lambda patch: patch.setitem(TRANSITIONS, (state, event), rule)


def restore_each_time(patch: pytest.MonkeyPatch) -> None:
    real = inventory_rules.request_of
    taken: dict[UUID, Sequence[OrderItem]] = {}

    def request_of(
        command: ReserveStock | RestoreStock, known: Outcome | None
    ) -> Request | Outcome:
        if isinstance(known, Reserved):
            taken[known.order_id] = known.items
        if isinstance(command, RestoreStock) and isinstance(known, Restored):
            return PutBack(command.order_id, taken.get(command.order_id, ()), command.reason)
        return real(command, known)

    patch.setattr(inventory_handlers, "request_of", request_of)


def leave_no_tombstone(patch: pytest.MonkeyPatch) -> None:
    real = inventory_rules.request_of

    def request_of(
        command: ReserveStock | RestoreStock, known: Outcome | None
    ) -> Request | Outcome:
        if isinstance(command, RestoreStock) and known is None:
            return Restored(command.order_id)
        return real(command, known)

    patch.setattr(inventory_handlers, "request_of", request_of)


def count_no_stock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inventory_rules, "check_cart", lambda *_args, **_kwargs: [])


def say_canceled_before_stripe_does(patch: pytest.MonkeyPatch) -> None:
    def cancel(payment: Payment, *, never_started: bool) -> Verdict:
        payment.cancel_requested = not payment.ended
        canceled = PaymentCanceled(order_id=payment.order_id, payment_intent_id=None)
        return said(*replies.standing(payment)) if payment.ended else said(canceled)

    patch.setattr(payment_rules, "cancel", cancel)


def call_again_under_a_fresh_key(patch: pytest.MonkeyPatch) -> None:
    def deferral(call: Call, _outcome: StripeRetry | NotThere, _chance: float) -> Deferral:
        return Deferral(call, 0.0, "again", fresh_key=True)

    patch.setattr(charging, "deferral", deferral)


def overlook_late_money(patch: pytest.MonkeyPatch) -> None:
    real = settling.settle

    def settle(payment: Payment, intent: Intent, terms: Terms, *, asked: bool) -> Verdict:
        if payment.ended:
            return Verdict(Result.STALE, reason="it has ended")
        return real(payment, intent, terms, asked=asked)

    patch.setattr(settling, "settle", settle)


def let_a_late_decline_count(patch: pytest.MonkeyPatch) -> None:
    def fail(payment: Payment, intent: Intent, _terms: Terms) -> Verdict:
        payment.status, payment.payment_intent_id = Status.FAILED, intent.id
        return said(replies.failed(payment))

    patch.setattr(settling, "fail", fail)


def never_ask_again(patch: pytest.MonkeyPatch) -> None:
    for state, event in TRANSITIONS:
        if event is StepTimedOut:
            patch.setitem(TRANSITIONS, (state, event), go(state))


def forget_what_staff_said_about_the_goods(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refunds, "restock_choice", lambda _refunds: None)


S = State
IGNORED: Final = Stay("ignored")

MUTANTS: Final = (
    Mutant("stock comes back each time it is asked", restore_each_time),
    Mutant("an undo before its do is forgotten", leave_no_tombstone),
    Mutant("stock is not counted", count_no_stock),
    Mutant("Stripe's word is not waited for", say_canceled_before_stripe_does),
    Mutant("a lost answer is asked for under a fresh key", call_again_under_a_fresh_key),
    Mutant("late money is overlooked", overlook_late_money),
    Mutant("a late decline undoes a payment", let_a_late_decline_count),
    Mutant("nobody asks again", never_ask_again),
    Mutant(
        "an end reopens",
        row(S.CANCELLED, PaymentSucceeded, go(S.CONFIRMED, commit_stock)),
    ),
    Mutant("late money stays", row(S.CANCELLED, PaymentSucceeded, IGNORED)),
    Mutant(
        "stock is released while the customer can pay",
        row(S.AWAITING_PAYMENT, CustomerCancels, go(S.RESTORING, cancel_payment, restore_stock)),
    ),
    Mutant(
        "what is paid is not committed",
        row(S.AWAITING_PAYMENT, PaymentSucceeded, go(S.CONFIRMED)),
    ),
    Mutant(
        "money goes back, stock does not",
        row(S.RETURNING_MONEY, PaymentRefunded, go(S.CANCELLED)),
    ),
    Mutant(
        "a refund in the dashboard changes nothing",
        row(S.CONFIRMED, PaymentRefunded, IGNORED),
    ),
    Mutant(
        "a refund that is refused for good is waited for",
        row(S.RETURNING_MONEY, RefundRefused, IGNORED),
    ),
    Mutant(
        "a refused refund ends the order without a decision",
        row(S.REFUNDING, RefusedWhenConfirmed, go(S.REFUNDED)),
    ),
    Mutant("what staff said about the goods is lost", forget_what_staff_said_about_the_goods),
)
