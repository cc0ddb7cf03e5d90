"""Stripe in memory: what is true about the money, whatever anybody has heard of it.

Keeps intents, their charges and refunds, and the answers under idempotency keys; makes an event of
everything that happens. `fate` says what becomes of the next request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from contracts.stripe import StripeEventReceived
from services.payment.provider import (
    Intent,
    MadeRefund,
    StripeAnswer,
    StripeRefused,
    StripeRetry,
    StripeUnexpectedState,
)

T = TypeVar("T")


class Fate(StrEnum):
    """What becomes of a request."""

    ANSWERED = "answered"
    UNREACHABLE = "Stripe never saw it"
    ANSWER_LOST = "done, but the answer did not come"
    BROKEN = "a 500 is kept under its key, and nothing was done"
    BROKEN_AFTERWARDS = "a 500 is kept under its key, and it was done"
    REFUSED = "a final no"


DECLINED: Final = "Your card was declined."
BY_CARD: Final = ("requires_payment_method", "requires_action")
PAYABLE: Final = (*BY_CARD, "processing")
DISPUTE_OPEN: Final = ("needs_response", "under_review")
DISPUTE_GOES_ON: Final = {
    None: ("needs_response", "warning_needs_response"),
    "warning_needs_response": ("warning_under_review", "needs_response", "warning_closed"),
    "warning_under_review": ("needs_response", "warning_closed"),
    "needs_response": ("under_review", "won", "lost"),
    "under_review": ("won", "lost"),
}
"""An inquiry (`warning_...`) takes no money and refuses no refund; it can become a dispute."""
REFUSALS: Final = (
    ("This charge cannot be refunded.", "charge_not_refundable"),
    ("The account is closed.", "account_closed"),
    ("Insufficient funds in your Stripe balance.", "balance_insufficient"),
    ("The charge is too old to be refunded.", None),
)
PASSES: Final = REFUSALS[2]
"""The refusal that ends when the balance is filled up."""


@dataclass(slots=True)
class ChargeRefund:
    id: str
    amount: int
    refund_id: UUID | None
    """Of the payment service; None when it was made in the dashboard."""
    failed: bool = False


@dataclass(slots=True)
class StripeIntent:
    """An intent, its charges and their refunds. Amounts are minor units."""

    id: str
    order_id: UUID
    amount: int
    status: str = "requires_payment_method"
    declined: bool = False
    charges: int = 0
    dispute: str | None = None
    """Its status; one dispute at most."""
    disputed: int = 0
    refusal: tuple[str, str | None] | None = None
    """Message and code with which every refund is refused."""
    refunds: list[ChargeRefund] = field(default_factory=list)

    @property
    def received(self) -> int:
        return self.amount * self.charges

    @property
    def refunded(self) -> int:
        return sum(refund.amount for refund in self.refunds if not refund.failed)

    @property
    def lost(self) -> int:
        """What a lost dispute took of the money, besides what was given back."""
        return min(self.disputed, self.received - self.refunded) if self.dispute == "lost" else 0

    @property
    def kept(self) -> int:
        return self.received - self.refunded - self.lost

    @property
    def refusal_now(self) -> tuple[str, str | None] | None:
        """Why a refund would be refused, whatever its amount."""
        if self.dispute in DISPUTE_OPEN or self.dispute == "lost":
            return f"{self.id} has been charged back; cannot issue a refund.", "charge_disputed"
        if self.received and self.refunded == self.received:
            return f"{self.id} has already been refunded.", "charge_already_refunded"
        return self.refusal

    def shown(self, *, with_charge: bool = False) -> Intent:
        return Intent(
            id=self.id,
            status=self.status,
            amount=self.amount,
            currency="zar",
            amount_received=self.received,
            client_secret=f"{self.id}_secret",
            amount_refunded=self.refunded if with_charge and self.charges else None,
            error_message=DECLINED if self.declined else None,
        )

    def shown_refund(self, refund: ChargeRefund) -> MadeRefund:
        return MadeRefund(refund.id, "succeeded", refund.amount, self.refunded)


class StripeInMemory:
    """A `services.payment.provider.Provider`, and what customers, banks and staff do there."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.fate = Fate.ANSWERED
        self.intents: list[StripeIntent] = []
        self.undelivered: list[StripeEventReceived] = []
        self._answers: dict[str, Intent | MadeRefund | StripeAnswer] = {}
        self._events = 0

    # -- what the payment service asks

    async def create_intent(self, order_id: UUID, amount: int, currency: str, key: str) -> Intent:
        def create() -> Intent:
            intent = StripeIntent(f"pi_{len(self.intents) + 1}", order_id, amount)
            self.intents.append(intent)
            self._emit_intent("created", intent)
            return intent.shown()

        return self._once(key, create)

    async def cancel_intent(self, intent_id: str, key: str) -> Intent:
        def cancel() -> Intent:
            intent = self._find(intent_id)
            if intent.status not in BY_CARD:
                raise StripeUnexpectedState(intent.shown())
            self.move(intent, "canceled")
            return intent.shown()

        return self._once(key, cancel)

    async def create_refund(
        self, intent_id: str, amount: int, order_id: UUID, refund_id: UUID, key: str
    ) -> MadeRefund:
        def refund() -> MadeRefund:
            intent = self._find(intent_id)
            if intent.refusal_now:
                raise StripeRefused(*intent.refusal_now)
            if amount > intent.kept:
                raise StripeRefused("more than is left")
            return intent.shown_refund(self.give_back(intent, amount, refund_id))

        return self._once(key, refund)

    async def retrieve_intent(self, intent_id: str) -> Intent:
        return self._asked(self._find(intent_id).shown(with_charge=True))

    async def find_intent(self, order_id: UUID, since: datetime, spent_for: float) -> Intent | None:
        found = [intent for intent in self.intents if intent.order_id == order_id]
        return self._asked(found[0].shown(with_charge=True) if found else None)

    async def find_refund(self, intent_id: str, refund_id: UUID) -> MadeRefund | None:
        intent = self._find(intent_id)
        found = [r for r in intent.refunds if r.refund_id == refund_id and not r.failed]
        return self._asked(intent.shown_refund(found[0]) if found else None)

    def _once(self, key: str, effect: Callable[[], T]) -> T:
        """One effect and one answer per key, unless the request's fate is another."""
        if self.fate is Fate.UNREACHABLE:
            raise StripeRetry("not reached")
        repeated = key in self._answers
        if not repeated:
            self._answers[key] = self._first_answer(effect)
        answer = self._answers[key]
        if self.fate is Fate.ANSWER_LOST:
            raise StripeRetry("no answer")
        if isinstance(answer, StripeRetry):
            raise StripeRetry("500", server_error=True, key_spent=repeated)
        if isinstance(answer, StripeAnswer):
            raise answer
        return cast("T", answer)

    def _first_answer(self, effect: Callable[[], Any]) -> Intent | MadeRefund | StripeAnswer:
        if self.fate is Fate.REFUSED:
            return StripeRefused("refused")
        if self.fate is Fate.BROKEN:
            return StripeRetry("500")
        try:
            answer: Intent | MadeRefund = effect()
        except StripeAnswer as no:
            return no
        return StripeRetry("500") if self.fate is Fate.BROKEN_AFTERWARDS else answer

    def _asked(self, answer: T) -> T:
        if self.fate not in (Fate.ANSWERED, Fate.REFUSED):
            raise StripeRetry("no answer")
        return answer

    def _find(self, intent_id: str) -> StripeIntent:
        return next(intent for intent in self.intents if intent.id == intent_id)

    # -- what happens there

    def move(self, intent: StripeIntent, what: str) -> None:
        """`succeeded`, `processing`, `requires_action`, `payment_failed` or `canceled`."""
        intent.charges += what == "succeeded"
        intent.declined = what == "payment_failed"
        intent.status = "requires_payment_method" if what == "payment_failed" else what
        self._emit_intent(what, intent)

    def give_back(
        self, intent: StripeIntent, amount: int, refund_id: UUID | None = None
    ) -> ChargeRefund:
        refund = ChargeRefund(f"re_{intent.id}_{len(intent.refunds)}", amount, refund_id)
        intent.refunds.append(refund)
        charge = {"id": f"ch_{intent.id}", "object": "charge", "payment_intent": intent.id}
        self._emit("charge.refunded", {**charge, "amount_refunded": intent.refunded})
        return refund

    def fail(self, intent: StripeIntent, refund: ChargeRefund) -> None:
        """The customer's bank sends the money back."""
        refund.failed = True
        ours = {"order_id": str(intent.order_id), "refund_id": str(refund.refund_id)}
        self._emit(
            "refund.failed",
            {
                "id": refund.id,
                "object": "refund",
                "status": "failed",
                "amount": refund.amount,
                "payment_intent": intent.id,
                "failure_reason": "lost_or_stolen_card",
                "metadata": ours if refund.refund_id else {},
            },
        )

    def dispute(self, intent: StripeIntent, status: str) -> None:
        """The dispute of a charge comes to this status, one that `DISPUTE_GOES_ON` has."""
        before, intent.dispute = intent.dispute, status
        if before is None:
            intent.disputed = intent.kept
            self._emit_dispute("created", intent)
        if status in DISPUTE_OPEN and before not in DISPUTE_OPEN:
            self._emit_dispute("funds_withdrawn", intent)
        if status in ("won", "lost", "warning_closed"):
            self._emit_dispute("closed", intent)
        elif before is not None:
            self._emit_dispute("updated", intent)
        if status == "won":
            self._emit_dispute("funds_reinstated", intent)

    def _emit_dispute(self, what: str, intent: StripeIntent) -> None:
        self._emit(
            f"charge.dispute.{what}",
            {
                "id": f"dp_{intent.id}",
                "object": "dispute",
                "payment_intent": intent.id,
                "amount": intent.disputed,
                "status": intent.dispute,
            },
        )

    def _emit_intent(self, what: str, intent: StripeIntent) -> None:
        self._emit(
            f"payment_intent.{what}",
            {
                "id": intent.id,
                "object": "payment_intent",
                "status": intent.status,
                "amount": intent.amount,
                "amount_received": intent.received,
                "currency": "zar",
                "last_payment_error": {"message": DECLINED} if intent.declined else None,
                "metadata": {"order_id": str(intent.order_id)},
            },
        )

    def _emit(self, type_: str, object_: dict[str, Any]) -> None:
        self._events += 1
        event = {
            "id": f"evt_{self._events}",
            "type": type_,
            "created": int(self.now.timestamp()),
            "data": {"object": object_},
        }
        self.undelivered.append(StripeEventReceived.from_event(event))
