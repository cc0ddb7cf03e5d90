"""What the payment service asks of a payment provider, and how it answers.

    StripeAnswer          not what was asked for
    ├── StripeRetry           time: do the same again later
    ├── StripeRefused         a final no
    └── StripeUnexpectedState the intent is in a state that forbids it; carries the intent

`stripe_api` and `instant` implement it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Intent:
    """A PaymentIntent as Stripe shows it. Amounts are minor units."""

    id: str
    status: str
    amount: int | None
    currency: str | None
    amount_received: int | None = None
    livemode: bool = False
    client_secret: str | None = None
    amount_refunded: int | None = None
    """Of its charge, cumulative; None where the charge was not asked for."""
    error_message: str | None = None
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class MadeRefund:
    """A refund as Stripe shows it."""

    id: str
    status: str
    amount: int
    charge_refunded: int | None = None
    """What the charge had given back in all, this refund included."""
    failure_reason: str | None = None


class StripeAnswer(Exception):  # noqa: N818  # named for what they say
    """Base of the answers that are not the object asked for."""


class StripeRetry(StripeAnswer):
    """It is unknown or known not to have happened: repeat it under the same key.

    `key_spent`: the key gives this answer for ever; `server_error`: Stripe's own fault (5xx);
    `no_answer`: the connection broke or timed out; `retry_after`: seconds to wait at least.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        server_error: bool = False,
        no_answer: bool = False,
        key_spent: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.server_error = server_error
        self.no_answer = no_answer
        self.key_spent = key_spent

    @property
    def outage(self) -> bool:
        """Whether Stripe as a whole may be failing. A stored 500 is about one call only: Stripe
        works, and repeats an old answer."""
        return self.no_answer or (self.server_error and not self.key_spent)


class StripeRefused(StripeAnswer):
    """Stripe's final no, in its own words."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class StripeUnexpectedState(StripeAnswer):
    """The intent's state forbids what was asked."""

    def __init__(self, intent: Intent) -> None:
        super().__init__(f"{intent.id} is {intent.status}")
        self.intent = intent


class Provider(Protocol):
    """Every method raises the StripeAnswers. `key` is an idempotency key."""

    async def create_intent(
        self, order_id: UUID, amount: int, currency: str, key: str
    ) -> Intent: ...

    async def cancel_intent(self, intent_id: str, key: str) -> Intent: ...

    async def retrieve_intent(self, intent_id: str) -> Intent:
        """The intent as it is now, with what its charge has given back."""
        ...

    async def find_intent(self, order_id: UUID, since: datetime, spent_for: float) -> Intent | None:
        """The intent of an order by its metadata, made since then and before the key was spent.
        At most one call to Stripe. `spent_for`: seconds since the key last could make an intent.

        Raises StripeRetry also while it is too early to know; `retry_after` says when it is not.
        """
        ...

    async def create_refund(
        self, intent_id: str, amount: int, order_id: UUID, refund_id: UUID, key: str
    ) -> MadeRefund: ...

    async def find_refund(self, intent_id: str, refund_id: UUID) -> MadeRefund | None:
        """The refund of that business key that has not failed."""
        ...
