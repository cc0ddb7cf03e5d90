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
    `retry_after`: seconds that Stripe asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        server_error: bool = False,
        key_spent: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.server_error = server_error
        self.key_spent = key_spent


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

    async def find_intent(self, order_id: UUID, since: datetime) -> Intent | None:
        """The intent of an order by its metadata, among those made since then."""
        ...

    async def create_refund(
        self, intent_id: str, amount: int, order_id: UUID, refund_id: UUID, key: str
    ) -> MadeRefund: ...

    async def find_refund(self, intent_id: str, refund_id: UUID) -> MadeRefund | None:
        """The refund of that business key that has not failed."""
        ...
