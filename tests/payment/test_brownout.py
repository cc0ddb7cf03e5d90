"""A Stripe that answers 5xx for a while: what it costs in calls, and who is served meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from contracts.payment import PaymentIntentCreated
from services.payment import circuit as circuit_module
from services.payment import stripe_api
from services.payment.calling import make
from services.payment.charging import Finished
from services.payment.circuit import ORDERS_TO_OPEN
from services.payment.provider import Intent, StripeRefused, StripeRetry
from services.payment.stripe_api import StripeApi
from tests.payment.bench import AMOUNT, DAY, Bench, Unpaid, intent_event, request
from tests.payment.outage import calls, outage
from tests.payment.test_charging import CREATE, charging, ledger, settings, status, to
from tests.standin.process import StandinProcess, eventually, running

ACCOUNT_TRAFFIC = 130  # intents of other orders within the last minutes: more than a page


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[StandinProcess]:
    """An account of its own, whose traffic no other test sees."""
    async with running(tmp_path / "stripe.sqlite3") as process:
        yield process


@pytest.fixture
async def api(standin: StandinProcess) -> AsyncIterator[StripeApi]:
    """Search is trusted at once: the stand-in indexes without a delay here."""
    async with stripe_api.connect(settings(standin, stripe_search_delay_seconds=0)) as api:
        yield api


@pytest.fixture
async def busy(standin: StandinProcess) -> None:
    """Make the account a busy one."""
    await asyncio.gather(*(standin.open(f"other-{n}") for n in range(ACCOUNT_TRAFFIC)))


@pytest.fixture
async def careful(standin: StandinProcess) -> AsyncIterator[StripeApi]:
    """Search is trusted only after a day: what a test does not make older is too young for it."""
    async with stripe_api.connect(settings(standin, stripe_search_delay_seconds=DAY)) as api:
        yield api


@pytest.mark.usefixtures("busy")
async def test_a_5xx_that_is_not_stored_costs_one_call_per_attempt(
    bench: Bench, api: StripeApi, standin: StandinProcess
) -> None:
    await standin.fault("error_before", operation=CREATE, count=8)
    order_id, before = uuid4(), await calls(standin)
    await bench.hear(request(order_id))
    (created,) = await bench.call_until_done(api)
    assert isinstance(created, PaymentIntentCreated)
    assert await calls(standin) - before == {CREATE: 9}, "no list, no search"
    assert len(await ledger(standin, order_id)) == 1


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("stored_error", {CREATE: 3, "search_payment_intents": 1}),
        ("error_after", {CREATE: 2, "search_payment_intents": 1}),
    ],
)
async def test_a_stored_500_costs_one_search_however_busy_the_account_is(
    bench: Bench, api: StripeApi, standin: StandinProcess, fault: str, expected: dict[str, int]
) -> None:
    await standin.fault(fault, operation=CREATE, count=1)
    order_id, before = uuid4(), await calls(standin)
    await bench.hear(request(order_id, AMOUNT))
    (created,) = await bench.call_until_done(api)
    assert isinstance(created, PaymentIntentCreated)
    assert await calls(standin) - before == expected
    assert [entry["id"] for entry in await ledger(standin, order_id)] == [created.payment_intent_id]


async def test_in_a_quiet_account_one_list_decides_at_once(
    bench: Bench, careful: StripeApi, standin: StandinProcess
) -> None:
    await standin.fault("stored_error", operation=CREATE, count=1)
    order_id, before = uuid4(), await calls(standin)
    await bench.hear(request(order_id))
    (created,) = await bench.call_until_done(careful)
    assert isinstance(created, PaymentIntentCreated)
    assert await calls(standin) - before == {CREATE: 3, "list_payment_intents": 1}


@pytest.mark.usefixtures("busy")
async def test_a_look_that_comes_too_early_waits_for_the_search(
    bench: Bench, careful: StripeApi, standin: StandinProcess
) -> None:
    """The intent is there, and other orders have pushed it out of the newest page."""
    order_id = await spent_key(bench, careful, standin)
    await asyncio.gather(*(standin.open(f"more-{n}") for n in range(100)))
    before = await calls(standin)
    assert await bench.call(careful) == []
    (row,) = await bench.fetch("SELECT next_attempt_at - now() AS pause FROM stripe_calls")
    assert row["pause"] > timedelta(hours=23)
    await bench.fetch("UPDATE stripe_calls SET spent_at = spent_at - interval '1 day'")
    (created,) = await bench.call(careful)
    assert isinstance(created, PaymentIntentCreated)
    assert await calls(standin) - before == {
        "list_payment_intents": 1,
        "search_payment_intents": 1,
    }
    assert len(await ledger(standin, order_id)) == 1


async def test_a_search_that_finds_nothing_counts_only_when_the_index_has_caught_up(
    bench: Bench, tmp_path: Path
) -> None:
    """A stand-in whose index lags behind: a second intent would be made if it counted at once."""
    async with running(tmp_path / "late.sqlite3", STANDIN_SEARCH_DELAY="3600") as standin:
        await asyncio.gather(*(standin.open(f"other-{n}") for n in range(120)))
        async with stripe_api.connect(settings(standin)) as api:
            order_id = await spent_key(bench, api, standin)
            await asyncio.gather(*(standin.open(f"more-{n}") for n in range(120)))
            assert await bench.call(api) == []
            assert await bench.call(api) == []
            assert len(await ledger(standin, order_id)) == 1


@pytest.mark.usefixtures("busy")
async def test_a_search_that_stripe_refuses_decides_nothing(
    bench: Bench, api: StripeApi, standin: StandinProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an account has no search: the payment is not refused for it."""
    order_id = await spent_key(bench, api, standin)

    async def refuses(_: UUID) -> None:
        raise StripeRefused("Search is not available for this account.")

    monkeypatch.setattr(api, "_search", refuses)
    assert await bench.call(api) == []
    assert (await bench.payment(order_id))["status"] == "creating"


@pytest.mark.usefixtures("busy")
async def test_a_webhook_that_tells_of_the_intent_ends_the_wait_for_the_search(
    bench: Bench, careful: StripeApi, standin: StandinProcess
) -> None:
    order_id = await spent_key(bench, careful, standin)
    await asyncio.gather(*(standin.open(f"more-{n}") for n in range(100)))
    assert await bench.call(careful) == []
    assert await bench.claim() == []
    await bench.fetch("UPDATE payments SET created_at = now() - interval '1 minute'")
    (made,) = await ledger(standin, order_id)
    await bench.hear(intent_event("created", made["id"], order_id), source="gateway")
    (call,) = await bench.claim()
    (created,) = await bench.record(Finished(call, await make(careful, call, DAY)))
    assert isinstance(created, PaymentIntentCreated)
    assert created.payment_intent_id == made["id"]


async def spent_key(bench: Bench, api: StripeApi, standin: StandinProcess) -> UUID:
    """An order whose intent was made, and whose key gives a 500 for ever."""
    await standin.fault("error_after", operation=CREATE, count=1)
    order_id = uuid4()
    await bench.hear(request(order_id))
    for _ in range(2):
        assert await bench.call(api) == []
    (row,) = await bench.fetch("SELECT look_first FROM stripe_calls")
    assert row["look_first"]
    return order_id


# -- the circuit breaker -----------------------------------------------------------------------


async def test_an_outage_costs_few_calls_and_nobody_needs_to_end_it(
    bench: Bench, standin: StandinProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred orders come while Stripe answers 500 to everything; then Stripe recovers."""
    monkeypatch.setattr(circuit_module, "LONGEST_PAUSE", 1.0)
    await standin.fault("error_before", operation=CREATE)
    before = await calls(standin)
    opened = value("circuit_opened_total")
    async with charging(bench, to(standin), slots=4):
        for _ in range(10):
            await bench.hear(*(request(uuid4()) for _ in range(10)))

        async def probed_twice() -> bool:
            return value("circuit_probes_total") >= probes + 2

        probes = value("circuit_probes_total")
        await eventually(probed_twice, "two probes", seconds=20)
        assert value("circuit_open") == 1
        assert value("circuit_opened_total") == opened + 1
        (tried,) = await bench.fetch("SELECT sum(attempts) AS calls FROM stripe_calls")
        made = (await calls(standin) - before)[CREATE]
        assert made <= ORDERS_TO_OPEN + 4 + 6, "until it opens, those in flight then, some probes"
        assert tried["calls"] <= made + 1, "calls that wait keep their attempts"
        await standin.control("DELETE", "/faults")

        async def all_open() -> bool:
            rows = await bench.fetch("SELECT FROM payments WHERE status <> 'open'")
            return not rows

        await eventually(all_open, "the intents of all orders", seconds=30)
    assert value("circuit_open") == 0
    assert value("circuit_opened_total") == opened + 1


@pytest.mark.timeout(400)  # as long as `outage` waits for its steps on a busy machine
async def test_orders_of_an_outage_cost_about_one_call_each(
    bench: Bench, standin: StandinProcess
) -> None:
    """`python -m tests.payment.outage` in short; it measures a whole minute."""
    opened = value("circuit_opened_total")
    figures = await outage(
        bench, standin, to(standin), rate=20, seconds=5.0, latency_ms=50, slots=8
    )
    assert value("circuit_opened_total") > opened
    assert figures.looks == 0
    assert figures.failed_calls <= ORDERS_TO_OPEN + 8 + 5, "to open it, in flight then, probes"


async def test_one_order_that_stripe_always_fails_stops_no_other(bench: Bench) -> None:
    bad = uuid4()

    class Failing(Unpaid):
        async def create_intent(self, order_id: UUID, *asked: Any) -> Intent:
            if order_id == bad:
                raise StripeRetry("500", server_error=True)
            return await super().create_intent(order_id, *asked)

    await bench.hear(request(bad))
    async with charging(bench, lambda: nullcontext(Failing()), slots=4):

        async def tried_often() -> bool:
            await bench.fetch(
                "UPDATE stripe_calls SET next_attempt_at = now() WHERE lease_token IS NULL"
            )
            bench.on_wake()
            return bool(
                await bench.fetch("SELECT FROM stripe_calls WHERE attempts > $1", ORDERS_TO_OPEN)
            )

        await eventually(tried_often, "many attempts", seconds=20)
        assert value("circuit_open") == 0
        other = uuid4()
        await bench.hear(request(other))

        async def served() -> bool:
            return await status(bench, other) == "open"

        await eventually(served, "the other's intent")


def value(name: str) -> float:
    seen = REGISTRY.get_sample_value(f"orderflow_stripe_{name}")
    assert seen is not None
    return seen
