"""A circuit breaker around Stripe: an outage costs one probe at a time instead of every call. Pure.

    closed     calls are made. Failures of many different orders in a row open it.
    open       no call is claimed. Calls that wait keep their attempts and their place.
    half-open  after a pause one call is made, the probe. Some successes in a row close it; a
               failure opens it again, with a longer pause.

Failures are counted by order, so that one call that always fails cannot stop the others.
"""

from typing import Final
from uuid import UUID

ORDERS_TO_OPEN: Final = 10
"""Orders in a row whose calls fail. If half of all calls fail, ten in a row are one in 1,000."""
PROBES_TO_CLOSE: Final = 3
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0
"""Seconds; the longest is what the end of an outage may stay unseen."""


class Circuit:
    """The breaker of one process. `now` is a monotonic clock in seconds; `probe_lease`: seconds
    after which a probe without an outcome is given up, and the next one may start."""

    def __init__(self, probe_lease: float) -> None:
        self._probe_lease = probe_lease
        self._failing: set[UUID] = set()
        self._closed = True
        self._pause = FIRST_PAUSE
        self._next_probe_at = 0.0
        self._probe: UUID | None = None
        self._good_probes = 0

    @property
    def closed(self) -> bool:
        return self._closed

    def places(self, wanted: int, now: float) -> int:
        """How many of `wanted` calls may be made."""
        if self._closed:
            return wanted
        return min(wanted, 1) if now >= self._next_probe_at else 0

    def probe(self, order_id: UUID, now: float) -> None:
        """The call of an order is about to be made as the probe."""
        self._probe = order_id
        self._next_probe_at = now + self._probe_lease

    def ended(self, order_id: UUID, now: float, *, outage: bool) -> None:
        """A call has its outcome. `outage`: Stripe may be failing as a whole."""
        if self._closed:
            self._count(order_id, now, outage=outage)
        elif order_id == self._probe:  # others began before it opened, and say nothing of now
            self._judge(now, outage=outage)

    def _count(self, order_id: UUID, now: float, *, outage: bool) -> None:
        if not outage:
            self._failing.clear()
            return
        self._failing.add(order_id)
        if len(self._failing) >= ORDERS_TO_OPEN:
            self._closed = False
            self._failing.clear()
            self._pause, self._good_probes, self._probe = FIRST_PAUSE, 0, None
            self._next_probe_at = now + self._pause

    def _judge(self, now: float, *, outage: bool) -> None:
        self._probe = None
        if outage:
            self._good_probes = 0
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            self._next_probe_at = now + self._pause
            return
        self._good_probes += 1
        self._next_probe_at = now
        self._closed = self._good_probes >= PROBES_TO_CLOSE
