"""A payment, its refunds and its calls to Stripe, as values. No I/O; read `rules` next."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, cast
from uuid import UUID

from contracts.message import Message


class Status(StrEnum):
    """Where a payment is. The last three are ends and never left."""

    CREATING = "creating"
    OPEN = "open"
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    REFUSED = "refused"


ENDS: Final = frozenset({Status.SUCCEEDED, Status.CANCELED, Status.REFUSED})


class RefundStatus(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILING = "failing"
    FAILED = "failed"


class CallKind(StrEnum):
    CREATE_INTENT = "create_intent"
    CANCEL_INTENT = "cancel_intent"
    RETRIEVE_INTENT = "retrieve_intent"
    CREATE_REFUND = "create_refund"


RETRY: Final = ":retry"
"""Ends the queue class of a call that was attempted before; the migration 0109 has it too."""

FailurePolicy = Literal["cancel", "retry"]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a deployment decides about payments."""

    policy: FailurePolicy = "cancel"
    livemode: bool = False
    """Whether the key in use is a live one."""


@dataclass(frozen=True, slots=True)
class Refund:
    """A row of `refunds`. Amounts are minor units."""

    refund_id: UUID
    order_id: UUID
    amount: int
    status: RefundStatus
    attempt: int
    created_at: datetime
    updated_at: datetime
    stripe_refund_id: str | None = None
    failure_message: str | None = None
    failure_code: str | None = None
    final: bool = False
    """Failed for good: never made again under this id."""

    @property
    def to_make(self) -> bool:
        """Stripe has not made it yet, so no charge counts it."""
        return self.status is RefundStatus.PENDING and self.stripe_refund_id is None


@dataclass(slots=True)
class Payment:
    """A row of `payments`, with its refunds beside it. The migration explains the columns."""

    order_id: UUID
    customer_id: str | None
    amount: int
    currency: str
    status: Status
    created_at: datetime
    updated_at: datetime
    version: int = 1
    payment_intent_id: str | None = None
    client_secret: str | None = None
    intent_status: str | None = None
    amount_received: int = 0
    amount_refunded: int = 0
    refund_failed: bool = False
    cancel_requested: bool = False
    check_requested: bool = False
    calling: bool = False
    calls: int = 0
    failure_message: str | None = None
    failure_code: str | None = None
    problem: str | None = None
    disputed: bool = False
    disputes: dict[str, str] = field(default_factory=dict)
    amount_lost: int = 0
    """By disputes that were lost, as the bank took it; `lost` is what counts."""
    refunds: dict[UUID, Refund] = field(default_factory=dict, metadata={"column": False})

    @classmethod
    def requested(
        cls, order_id: UUID, customer_id: str, amount: int, currency: str, now: datetime
    ) -> "Payment":
        return cls(order_id, customer_id, amount, currency, Status.CREATING, now, now)

    @classmethod
    def tombstone(cls, order_id: UUID, now: datetime) -> "Payment":
        """The undo of a payment that was never asked for: a request that comes later is refused.

        `xxx` is ISO 4217 for "no currency".
        """
        return cls(order_id, None, 0, "xxx", Status.CANCELED, now, now)

    @property
    def ended(self) -> bool:
        return self.status in ENDS

    @property
    def intent_id(self) -> str:
        """The intent, where the status or the money says that there is one."""
        return cast("str", self.payment_intent_id)

    @property
    def left_to_refund(self) -> int:
        """What has been received, is not given back, and is not about to be.

        Never below 0: a refund that is about to be made may turn out to be more than is left.
        """
        to_make = sum(refund.amount for refund in self.refunds.values() if refund.to_make)
        return max(0, self.amount_received - self.amount_refunded - self.lost - to_make)

    @property
    def lost(self) -> int:
        """What a lost dispute took of the money: at most what had not been given back."""
        return min(self.amount_lost, self.amount_received - self.amount_refunded)

    def audited(self) -> tuple[Any, ...]:
        """What counts as a change of the payment; the rest is bookkeeping of calls."""
        return (
            self.status,
            self.payment_intent_id,
            self.intent_status,
            self.amount_received,
            self.amount_refunded,
            self.cancel_requested,
            self.failure_message,
            self.problem,
            self.disputes,
            self.amount_lost,
            *(refund.status for refund in self.refunds.values()),
        )

    def row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in PAYMENT_COLUMNS}


PAYMENT_COLUMNS: Final = tuple(
    column.name for column in fields(Payment) if column.metadata.get("column", True)
)
REFUND_COLUMNS: Final = tuple(column.name for column in fields(Refund))


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call to put in the queue."""

    order_id: UUID
    kind: CallKind
    parameters: dict[str, Any]
    idempotency_key: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call taken from the queue under a lease."""

    order_id: UUID
    kind: CallKind
    parameters: dict[str, Any]
    key: str
    """The idempotency key in use."""
    generation: int
    look_first: bool
    spent_for: float
    """Seconds since the key in use turned out to be spent; 0.0 where it is not known to be."""
    attempts: int
    tries: int
    key_age: float
    """Seconds since the key in use was made."""
    created_at: datetime
    traceparent: str | None
    payment_intent_id: str | None
    """The payment's intent, where it is known."""
    lease_token: UUID

    @property
    def queue_class(self) -> str:
        """The class that it was claimed from; see `fair_share`."""
        return self.kind if self.attempts == 1 else f"{self.kind}{RETRY}"


class Result(StrEnum):
    """What became of an event or an answer."""

    APPLIED = "applied"
    STALE = "stale"
    CHECKING = "checking"
    IGNORED = "ignored"
    FOREIGN = "foreign"
    PARKED = "parked"


@dataclass(slots=True)
class Verdict:
    """What a rule decided: the payment is changed already, the messages are to be sent."""

    outcome: Result
    messages: list[Message] = field(default_factory=list)
    reason: str | None = None
