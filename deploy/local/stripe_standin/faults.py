"""The faults that tests ask for: which there are, and which strike now.

They live in memory: a restarted stand-in is a healthy one.
"""

import threading
from enum import StrEnum
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Kind(StrEnum):
    """What goes wrong."""

    # API calls
    DELAY = "delay"  # delay_ms before the effect
    RATE_LIMIT = "rate_limit"  # 429, no effect
    ERROR_BEFORE = "error_before"  # 500, no effect, not stored
    STORED_ERROR = "stored_error"  # 500, no effect, stored under the idempotency key
    ERROR_AFTER = "error_after"  # 500 after the effect, stored under the idempotency key
    LOST_ANSWER = "lost_answer"  # the effect happens, then the connection breaks
    NOT_REFUNDABLE = "not_refundable"  # 400 charge_not_refundable, stored; of create_refund
    # webhooks
    WEBHOOK_DOUBLED = "webhook_doubled"
    WEBHOOK_DROPPED = "webhook_dropped"  # never sent; the event list still has the event
    WEBHOOK_HELD = "webhook_held"  # waits for POST /_control/webhooks/release
    WEBHOOK_DELAYED = "webhook_delayed"  # by delay_ms
    WEBHOOK_SHUFFLED = "webhook_shuffled"  # by a random part of delay_ms


_TIMED = {Kind.DELAY, Kind.WEBHOOK_DELAYED, Kind.WEBHOOK_SHUFFLED}


class Fault(BaseModel):
    """One rule: what goes wrong, to what, how often."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    operation: str | None = Field(
        None, description="An API operation, or an event type for webhooks; none: all of them"
    )
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    count: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Strikes left; none: until cleared"
    )
    delay_ms: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _delay_where_it_belongs(self) -> "Fault":
        if (self.kind in _TIMED) != (self.delay_ms > 0):
            needs = "needs" if self.kind in _TIMED else "takes no"
            raise ValueError(f"{self.kind} {needs} delay_ms")
        return self


class Faults:
    """The rules in force. API rules strike on the event loop, webhook rules on the database's
    thread, hence the lock."""

    def __init__(self, seed: str) -> None:
        self._rules: list[Fault] = []
        # Two sources of chance, so that neither thread's timing changes the other's dice.
        self._dice = {
            False: Random(f"{seed}:api"),  # noqa: S311  reproducible, not secret
            True: Random(f"{seed}:webhooks"),  # noqa: S311
        }
        self._lock = threading.Lock()

    def add(self, faults: list[Fault]) -> None:
        """Add rules to those in force."""
        with self._lock:
            self._rules += [fault.model_copy() for fault in faults]

    def clear(self, kind: Kind | None = None) -> None:
        """Remove the rules of one kind, or all."""
        with self._lock:
            self._rules = [rule for rule in self._rules if kind and rule.kind != kind]

    def listed(self) -> list[Fault]:
        """The rules in force, with the counts they have left."""
        with self._lock:
            return [rule.model_copy() for rule in self._rules]

    def strike(self, subject: str) -> dict[Kind, float]:
        """What befalls this operation or event: the kinds, with their delays in seconds."""
        if not self._rules:
            return {}
        webhook = "." in subject  # event types have a dot, operations do not
        dice = self._dice[webhook]
        struck: dict[Kind, float] = {}
        with self._lock:
            for rule in self._rules:
                if rule.kind.startswith("webhook_") != webhook:
                    continue
                if rule.operation not in (None, subject) or dice.random() >= rule.rate:
                    continue
                seconds = rule.delay_ms / 1000
                if rule.kind is Kind.WEBHOOK_SHUFFLED:
                    seconds *= dice.random()
                struck[rule.kind] = struck.get(rule.kind, 0.0) + seconds
                if rule.count is not None:
                    rule.count -= 1
            self._rules = [rule for rule in self._rules if rule.count != 0]
        return struck
