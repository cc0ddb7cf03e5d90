"""Stripe's list of events against what has come: what is missing is sent, once, and nothing lost.

A list that behaves like Stripe's, the real database, and a note of what is sent to Kafka.
`test_missed_webhooks` has the whole service.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from contracts.message import sent_at_ms
from contracts.payment import PaymentFailed, PaymentSucceeded
from contracts.stripe import StripeEventReceived
from services.kit.db import Pool
from services.kit.errors import BrokerUnavailable
from services.kit.messages import Outgoing
from services.kit.service import Service
from services.payment import turns
from services.payment.provider import StripeRetry
from services.payment.reconciling import LEASE, SOURCE, Reconciling
from services.payment.turns import TurnLost
from tests.payment.bench import AMOUNT, Bench, decoded, intent_event
from tests.payment.test_handlers import opened

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
Json = dict[str, Any]


class StripesList:
    """Events, listed as Stripe lists them, in pages of two."""

    def __init__(self) -> None:
        self.listed: list[Json] = []
        self.asked: list[tuple[datetime, datetime]] = []
        self.before_page: Callable[[], None] = lambda: None

    def add(self, age: timedelta, **changes: Any) -> StripeEventReceived:
        """An event that is so old now."""
        event = {
            "id": f"evt_{uuid4().hex}",
            "type": "payment_intent.succeeded",
            "created": int((datetime.now(UTC) - age).timestamp()),
            "livemode": False,
            "data": {"object": {"id": "pi_1", "object": "payment_intent", "amount": AMOUNT}},
        } | changes
        self.listed.append(event)
        return StripeEventReceived.from_event(event)

    async def events(
        self, types: Sequence[str], since: datetime, until: datetime
    ) -> AsyncIterator[list[Json]]:
        self.asked.append((since, until))
        found = [
            event
            for event in sorted(self.listed, key=lambda event: -event["created"])
            if event["type"] in types
            and int(since.timestamp()) <= event["created"] < int(until.timestamp())
        ]
        for start in range(0, len(found), 2):
            self.before_page()
            yield found[start : start + 2]


class Replica:
    """Of a service, what reconciliation uses. Kafka is a list."""

    def __init__(self, pool: Pool, every: timedelta = MINUTE) -> None:
        self.pool = pool
        self.producer = self
        self.published: list[Outgoing] = []
        self.broker_away = False
        self.caught_up = True
        self._reconciling = Reconciling(_no_connection, every=every, inbox=14 * DAY)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        if self.broker_away:
            raise BrokerUnavailable("Kafka did not acknowledge")
        self.published += messages

    def as_if_it_had_looked_back(self, ago: timedelta) -> None:
        self._reconciling._looked_back_at = datetime.now(UTC) - ago

    async def turn(self, stripe: StripesList) -> list[str]:
        """Take a turn if it is time; the ids of the events that were sent."""
        self.published.clear()
        await self._reconciling.take_turn(cast("Service", self), stripe)
        sent = cast("list[StripeEventReceived]", decoded(self.published))
        return [event.event_id for event in sent]


def _no_connection() -> Any:
    raise AssertionError("the tests bring their own list")


@pytest.fixture
def replica(bench: Bench) -> Replica:
    return Replica(bench.pool)


async def last_turn(bench: Bench, ago: timedelta) -> None:
    """The last turn ended so long ago, with everything up to then."""
    await bench.fetch(
        """
        UPDATE reconciliation
           SET reached = now() - $1::interval, turn_at = now() - $1::interval
         WHERE compared = 'events'
        """,
        ago,
    )


async def reached(bench: Bench) -> timedelta:
    """How old what is reached is."""
    (row,) = await bench.fetch(
        "SELECT now() - reached AS age FROM reconciliation WHERE compared = 'events'"
    )
    return cast("timedelta", row["age"])


async def later(bench: Bench, stripe: StripesList, time: timedelta) -> None:
    """As if everything had happened so much earlier."""
    await bench.fetch(
        """
        UPDATE reconciliation
           SET reached = reached - $1::interval, turn_at = turn_at - $1::interval
         WHERE compared = 'events'
        """,
        time,
    )
    for event in stripe.listed:
        event["created"] -= int(time.total_seconds())


# -- what is sent ------------------------------------------------------------------------------


async def test_what_did_not_come_is_sent_as_its_webhook_would_have_been(
    bench: Bench, replica: Replica
) -> None:
    stripe = StripesList()
    missing = stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    with capture_logs() as logs:
        assert await replica.turn(stripe) == [missing.event_id]
    (sent,) = replica.published
    assert UUID(sent.message_id) == missing.message_id
    assert (sent.topic, sent.key) == ("stripe.webhooks", missing.key)
    assert sent.source == SOURCE
    assert decoded([sent]) == [missing]
    assert [line["event"] for line in logs] == ["events taken from Stripe's list"]
    # A replica of any version takes what stands there for decided.
    assert not await bench.fetch("SELECT 1 FROM stripe_events")


async def test_of_a_page_the_oldest_is_sent_first(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    newer, older = stripe.add(2 * MINUTE), stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == [older.event_id, newer.event_id]


async def test_what_came_is_not_sent_whatever_became_of_it(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    came = stripe.add(3 * MINUTE)
    to_people = stripe.add(3 * MINUTE, data={"object": {**_of_nobody(), "id": "pi_2"}})
    await bench.hear(came, to_people)
    assert len(bench.parked) == 1
    await last_turn(bench, 5 * MINUTE)
    with capture_logs() as logs:
        assert await replica.turn(stripe) == []
    assert stripe.asked
    assert logs == []


def _of_nobody() -> Json:
    return {"object": "payment_intent", "metadata": {"order_id": str(uuid4())}}


async def test_an_event_is_left_to_its_webhook_for_a_while(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    young = stripe.add(timedelta(seconds=50))
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == []
    await later(bench, stripe, MINUTE)
    assert await replica.turn(stripe) == [young.event_id]


async def test_what_stripe_lists_late_is_found_when_a_turn_looks_back(
    bench: Bench, replica: Replica
) -> None:
    """Now and then: each event would be read at every turn of those minutes otherwise."""
    stripe = StripesList()
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == []
    late = stripe.add(6 * MINUTE)
    for _ in range(4):
        await later(bench, stripe, MINUTE)
        assert await replica.turn(stripe) == []
        since, until = stripe.asked[-1]
        assert until - since < 2 * MINUTE
    replica.as_if_it_had_looked_back(5 * MINUTE)
    await later(bench, stripe, MINUTE)
    assert await replica.turn(stripe) == [late.event_id]


async def test_types_that_change_nothing_are_not_asked_for(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    stripe.add(3 * MINUTE, type="invoice.paid")
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == []


async def test_an_event_that_cannot_be_read_holds_up_no_other(
    bench: Bench, replica: Replica
) -> None:
    stripe = StripesList()
    good = stripe.add(4 * MINUTE)
    stripe.listed += [
        stripe.listed[0] | {"id": "evt_broken", "data": {"object": None}},
        stripe.listed[0] | {"id": None},
        stripe.listed[0] | {"id": "evt_text", "data": "text"},
    ]
    await last_turn(bench, 5 * MINUTE)
    with capture_logs() as logs:
        assert await replica.turn(stripe) == [good.event_id]
    unread = {line["event_id"]: line["why"] for line in logs if "why" in line}
    assert unread == {
        "evt_broken": "it has no object",
        None: "it has no id or no type",
        "evt_text": "it has no object",
    }
    assert await reached(bench) < 2 * MINUTE


async def test_events_of_odd_shapes_are_sent(bench: Bench, replica: Replica) -> None:
    """What Stripe may leave out, or send as an object: nothing of it stops the page."""
    stripe = StripesList()
    charge = {"id": "ch_1", "object": "charge", "amount_refunded": 1, "metadata": None}
    for number, odd in enumerate(
        (
            {**charge, "payment_intent": {"id": "pi_1", "object": "payment_intent"}},
            {**charge, "amount": {"value": 1}, "status": 7, "last_payment_error": "text"},
            {"object": "refund"},
        )
    ):
        stripe.add((9 - number) * MINUTE, type="charge.refunded", data={"object": odd})
    await last_turn(bench, 10 * MINUTE)
    assert sorted(await replica.turn(stripe)) == sorted(each["id"] for each in stripe.listed)
    assert await reached(bench) < 2 * MINUTE


async def test_an_event_older_than_the_inbox_remembers_gets_an_id_that_it_takes(
    bench: Bench, replica: Replica
) -> None:
    stripe = StripesList()
    old, young = stripe.add(13 * DAY), stripe.add(11 * DAY)
    await last_turn(bench, 20 * DAY)
    assert await replica.turn(stripe) == [old.event_id, young.event_id]
    of_old, of_young = (UUID(sent.message_id) for sent in replica.published)
    assert of_young == young.message_id
    assert of_old != old.message_id
    made_at = datetime.fromtimestamp(sent_at_ms(of_old) / 1000, UTC)
    assert datetime.now(UTC) - made_at < MINUTE


async def test_an_old_event_that_is_sent_twice_counts_once(bench: Bench) -> None:
    """Under two ids, so the inbox takes both."""
    order_id, intent = await opened(bench)
    declined = intent_event("payment_failed", intent, order_id)
    (failed,) = await bench.hear(declined, source=SOURCE)
    assert isinstance(failed, PaymentFailed)
    assert await bench.hear(declined, source=SOURCE) == []


# -- how far it has come -----------------------------------------------------------------------


async def test_nothing_is_listed_before_it_is_time(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    await last_turn(bench, 5 * MINUTE)
    await replica.turn(stripe)
    assert len(stripe.asked) == 1
    assert MINUTE <= await reached(bench) < MINUTE + timedelta(seconds=5)
    await bench.fetch("UPDATE reconciliation SET reached = reached - interval '1 hour'")
    await replica.turn(stripe)
    assert len(stripe.asked) == 1
    await later(bench, stripe, MINUTE)
    await replica.turn(stripe)
    assert len(stripe.asked) > 1


async def test_what_waits_for_the_service_is_read_first(bench: Bench, replica: Replica) -> None:
    """The webhook may be among it, or, after a restore, the request for the payment."""
    stripe = StripesList()
    missing = stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    replica.caught_up = False
    assert await replica.turn(stripe) == []
    assert stripe.asked == []
    replica.caught_up = True
    assert await replica.turn(stripe) == [missing.event_id]


async def test_replicas_take_turns(bench: Bench) -> None:
    stripe = StripesList()
    missing = stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    first, second = Replica(bench.pool), Replica(bench.pool)
    assert await first.turn(stripe) == [missing.event_id]
    assert await second.turn(stripe) == []
    assert len(stripe.asked) == 1


async def test_a_replica_that_died_in_its_turn_is_followed_when_its_lease_has_ended(
    bench: Bench, replica: Replica
) -> None:
    stripe = StripesList()
    missing = stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    dead = await turns.take(bench.pool, "events", pause=MINUTE, lease=LEASE)
    assert dead is not None
    hasty = Replica(bench.pool, every=timedelta(seconds=1))
    await later(bench, stripe, timedelta(seconds=2))
    assert await hasty.turn(stripe) == []
    await later(bench, stripe, LEASE)
    assert await hasty.turn(stripe) == [missing.event_id]
    before = await reached(bench)
    alive = await turns.take(bench.pool, "events", pause=timedelta(0), lease=LEASE)
    assert alive is not None
    with pytest.raises(TurnLost):
        await turns.keep(bench.pool, dead)
    await turns.end(bench.pool, dead)
    await turns.keep(bench.pool, alive)
    assert abs(await reached(bench) - before) < timedelta(seconds=1)


async def test_a_replica_that_lost_its_turn_stops(bench: Bench, replica: Replica) -> None:
    """It stood still for longer than its lease; another one has come further."""
    stripe = StripesList()
    missing = stripe.add(3 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    slow, fast = replica, Replica(bench.pool)

    async def overtaken(messages: Sequence[Outgoing]) -> None:
        await bench.fetch("UPDATE reconciliation SET turn_at = '-infinity', lease_token = NULL")
        assert await fast.turn(stripe) == [missing.event_id]

    slow.publish = overtaken  # type: ignore[method-assign]
    await slow.turn(stripe)
    assert len(stripe.asked) == 2
    assert await reached(bench) < 2 * MINUTE


async def test_kafka_is_away_so_the_same_is_sent_again(bench: Bench, replica: Replica) -> None:
    stripe = StripesList()
    missing = stripe.add(9 * MINUTE)
    await last_turn(bench, 10 * MINUTE)
    replica.broker_away = True
    with capture_logs() as logs:
        assert await replica.turn(stripe) == []
    assert [line["event"] for line in logs] == ["reconciliation waits"]
    assert await reached(bench) >= 10 * MINUTE
    replica.broker_away = False
    await later(bench, stripe, MINUTE)
    assert await replica.turn(stripe) == [missing.event_id]


async def test_a_crash_when_kafka_has_it_sends_it_again_under_the_same_id(
    bench: Bench, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    stripe = StripesList()
    missing = stripe.add(9 * MINUTE)
    await last_turn(bench, 10 * MINUTE)

    async def crash(*_: Any) -> None:
        raise RuntimeError("power failure")

    with monkeypatch.context() as patched:
        patched.setattr(turns, "note_sent", crash)
        with pytest.raises(RuntimeError, match="power"):
            await replica.turn(stripe)
    (first,) = replica.published
    assert await reached(bench) >= 10 * MINUTE
    await bench.fetch("UPDATE reconciliation SET turn_at = '-infinity'")  # the lease has ended
    assert await replica.turn(stripe) == [missing.event_id]
    assert replica.published[0].message_id == first.message_id


async def test_what_is_on_its_way_for_long_is_not_sent_each_turn(
    bench: Bench, replica: Replica
) -> None:
    """The service is behind: nothing is decided meanwhile."""
    stripe = StripesList()
    missing = stripe.add(2 * MINUTE)
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == [missing.event_id]
    for _ in range(3):
        await later(bench, stripe, MINUTE)
        assert await replica.turn(stripe) == []


@pytest.mark.parametrize(("source", "found"), [(SOURCE, True), ("gateway", False)])
async def test_what_was_sent_is_decided_when_it_comes_by_either_way(
    bench: Bench, replica: Replica, source: str, found: bool
) -> None:
    order_id, intent = await opened(bench)
    stripe = StripesList()
    paid = {"id": intent, "object": "payment_intent", "amount": AMOUNT, "amount_received": AMOUNT}
    missing = stripe.add(
        3 * MINUTE,
        data={"object": {**paid, "currency": "zar", "metadata": {"order_id": str(order_id)}}},
    )
    await last_turn(bench, 5 * MINUTE)
    assert await replica.turn(stripe) == [missing.event_id]
    (said,) = await bench.hear(missing, source=source)
    assert isinstance(said, PaymentSucceeded)
    (row,) = await bench.fetch("SELECT outcome, found FROM stripe_events")
    assert tuple(row) == ("applied", found)
    assert await bench.hear(missing, source=source) == []


async def test_after_a_long_outage_the_oldest_come_first_and_progress_is_kept(
    bench: Bench, replica: Replica
) -> None:
    stripe = StripesList()
    missed = [stripe.add(timedelta(hours=hours, minutes=-7)) for hours in range(72, 0, -1)]
    await last_turn(bench, 72 * HOUR)
    pages = 0

    def stripe_goes_away() -> None:
        nonlocal pages
        pages += 1
        if pages > 40:
            raise StripeRetry("no answer")

    stripe.before_page = stripe_goes_away
    with capture_logs() as logs:
        before = await replica.turn(stripe)
    assert [line["event"] for line in logs] == ["reconciliation waits"]
    assert 30 * HOUR < await reached(bench) < 42 * HOUR
    stripe.before_page = lambda: None
    await later(bench, stripe, MINUTE)
    after = await replica.turn(stripe)
    assert before + after == [event.event_id for event in missed]
    assert max(until - since for since, until in stripe.asked) <= HOUR + 10 * MINUTE
    assert await reached(bench) < 2 * MINUTE
