"""When an order has waited long enough, and what it hears then.

Every state that waits for an answer has a deadline in its row. Each unanswered round doubles the
wait, up to a quarter of an hour. After STUCK_AFTER rounds the order is flagged for people; the
rounds go on.

An order that cannot be advanced at all is flagged at once, with the reason, and retried after
FIRST_RETRY, then each time it has been stuck for twice as long, every LAST_RETRY at the latest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from services.order.events import Event, ReservationExpired, StepTimedOut
from services.order.order import Order, State

STUCK_AFTER = 6
_LONGEST_WAIT = timedelta(minutes=15)

FIRST_RETRY, LAST_RETRY = timedelta(seconds=5), timedelta(minutes=15)
"""Of an order that cannot be advanced."""

LEFT_TO_NEWER = timedelta(minutes=1)
"""How long an overdue order in an unknown state is left to replicas of a newer release, which
advance it within a second."""

_EXPIRES = frozenset({State.RESERVING, State.REQUESTING_PAYMENT, State.AWAITING_PAYMENT})
WAITS_FOR_ANSWER = frozenset(
    {
        State.RESERVING,
        State.REQUESTING_PAYMENT,
        State.CANCELLING_PAYMENT,
        State.WITHDRAWING,
        State.RETURNING_MONEY,
        State.RESTORING,
        State.REFUNDING,
        State.REFUNDING_ONLY,
        State.RESTOCKING,
        State.RETURNING_LATE,
    }
)
"""States in which another service owes an answer."""


class Timer(NamedTuple):
    """The waiting part of a row."""

    deadline_at: datetime | None = None
    rounds: int = 0
    stuck_since: datetime | None = None
    stuck_reason: str | None = None
    """Why the order cannot be advanced; None when it only waits for an answer."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the stock is held for a customer, and how long a service may take to answer."""

    reservation: timedelta
    step: timedelta

    def deadline(self, order: Order, now: datetime, rounds: int = 0) -> datetime | None:
        """When the order must hear something; None when it waits for nobody."""
        candidates = []
        if order.state in _EXPIRES:
            candidates.append(order.expires_at)
        if order.state in WAITS_FOR_ANSWER:
            candidates.append(now + min(self.step * 2 ** min(rounds, 16), _LONGEST_WAIT))
        return min(candidates, default=None)

    def next_timer(
        self, state: State, timer: Timer, after: Order, event: Event, now: datetime
    ) -> Timer:
        """The timer after an event: a new state starts anew, a time-out begins another round."""
        if after.state is not state:
            return Timer(self.deadline(after, now))
        if not isinstance(event, StepTimedOut):
            return timer
        rounds = timer.rounds + 1
        stuck_since = timer.stuck_since if timer.stuck_reason is None else None
        if rounds >= STUCK_AFTER:
            stuck_since = stuck_since or now
        return Timer(self.deadline(after, now, rounds), rounds, stuck_since)


def overdue_event(order: Order, now: datetime) -> Event | None:
    """The event of an order whose deadline has passed; None when nothing is due, since the deadline
    was written by SQL or by an edit that has been followed up."""
    if order.state in _EXPIRES and now >= order.expires_at:
        return ReservationExpired()
    return StepTimedOut() if order.state in WAITS_FOR_ANSWER else None
