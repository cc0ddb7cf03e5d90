"""Finds webhooks that never came, in Stripe's own list of events.

    a turn, of one replica at a time, every RECONCILE_SECONDS
      -> the list, from where the last turn ended: events of the types that can change a payment
      -> those that nobody knows go to the topic of the webhooks, under the id that their webhook
         would have had: the inbox takes whichever comes first
      -> when Kafka has acknowledged them, they are noted as sent, and the next turn begins here

A crash anywhere repeats a part of the list, and repeats have no effect. An event younger than
RECONCILE_SECONDS is left to its webhook. The list goes back 30 days; `checking` goes on.

A process reads what waits for it first: the webhook may be among it, and after a restore also the
request that makes the payment which the event is about.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from prometheus_client import Counter

from contracts.stripe import NotAnEvent, StripeEventReceived
from services.kit import trace
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.service import Service
from services.kit.telemetry import log
from services.payment import event_rules, turns
from services.payment.provider import StripeAnswer
from services.payment.turns import Turn, TurnLost

FOUND: Final = Counter(
    "orderflow_webhooks_missed_total", "Events found in Stripe's list whose webhook had not come"
)
SOURCE: Final = "payment"
"""Who sends these messages; webhooks are the gateway's."""

LEASE: Final = timedelta(seconds=30)
_LOOK_EVERY: Final = 1.0
_OVERLAP: Final = timedelta(seconds=10)
_LATE: Final = timedelta(minutes=5)
"""An event may be listed so much late, and clocks differ: once in so long a turn reads twice so far
back. If each turn did, it would read the same events again and again."""
_SLICE: Final = timedelta(hours=1)  # after a long outage: oldest first, and progress is kept


class EventList(Protocol):
    def events(
        self, types: Sequence[str], since: datetime, until: datetime
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Events created from `since` to just before `until`, page by page, newest first.

        Raises the StripeAnswers.
        """
        ...


class Reconciling:
    """The comparison of one process. `inbox`: how long message ids are remembered."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[EventList]],
        *,
        every: timedelta,
        inbox: timedelta,
    ) -> None:
        self._connect = connect
        self._every = every
        # Two days less than the inbox: one that the kit is careful by, one to get through Kafka.
        self._remembered = inbox - timedelta(days=2)
        self._looked_back_at = datetime.min.replace(tzinfo=UTC)

    async def run(self, service: Service) -> None:
        """Take turns until cancelled."""
        async with self._connect() as stripe:
            while True:
                await self.take_turn(service, stripe)
                await asyncio.sleep(_LOOK_EVERY)

    async def take_turn(self, service: Service, stripe: EventList) -> None:
        """Compare, if it is time and nobody else does."""
        if not service.caught_up:
            return
        turn = await turns.take(service.pool, "events", pause=self._every, lease=LEASE)
        if turn is None:
            return
        try:
            fed = await self._compare(service, stripe, turn)
        except TurnLost:
            return
        except (StripeAnswer, BrokerUnavailable) as error:
            log.warning("reconciliation waits", error=str(error))
        else:
            if fed:
                log.warning("events taken from Stripe's list", events=fed)
        await turns.end(service.pool, turn)

    async def _compare(self, service: Service, stripe: EventList, turn: Turn) -> int:
        until = (turn.now - self._every).replace(microsecond=0)  # Stripe's times are whole seconds
        fed = 0
        looks_back = turn.now - self._looked_back_at >= _LATE
        overlap = 2 * _LATE if looks_back else _OVERLAP
        while turn.reached < until:
            end = min(turn.reached + _SLICE, until)
            async for page in stripe.events(event_rules.TYPES, turn.reached - overlap, end):
                fed += await self._feed(service, page, turn.now)
                await turns.keep(service.pool, turn)
            turn = turn._replace(reached=end)
            await turns.keep(service.pool, turn)
            overlap = _OVERLAP
        if looks_back:
            self._looked_back_at = turn.now
        return fed

    async def _feed(self, service: Service, page: list[dict[str, Any]], now: datetime) -> int:
        """Send what is not known; says how many."""
        # The oldest first. One that cannot be read keeps none of its page from being sent.
        events = [event for listed in reversed(page) if (event := _read(listed))]
        known = await turns.known_events(service.pool, [event.event_id for event in events])
        missing = [event for event in events if event.event_id not in known]
        if missing:
            await service.producer.publish([self._as_webhook(event, now) for event in missing])
            # They may stay undecided for some turns: sent again each time, they would add up.
            await turns.note_sent(service.pool, [event.event_id for event in missing], now)
        return len(missing)

    def _as_webhook(self, event: StripeEventReceived, now: datetime) -> Outgoing:
        # What is older than the inbox remembers would be parked under its own id. Under a new one
        # it is told from a repeat by `stripe_events`, as long as a key's messages keep their order.
        young = now.timestamp() - event.created < self._remembered.total_seconds()
        return Outgoing.of(
            event,
            source=SOURCE,
            time=now.isoformat(),
            message_id=event.message_id if young else None,
            traceparent=trace.new_traceparent(),
        )


def _read(listed: dict[str, Any]) -> StripeEventReceived | None:
    try:
        return StripeEventReceived.from_event(listed)
    except NotAnEvent as reason:
        log.error("an event of Stripe cannot be read", event_id=listed.get("id"), why=str(reason))
        return None
