"""What ops says of the whole system, on its own database and with a real broker."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from contracts.audit import OrderAudited
from contracts.inventory import StockRestored
from contracts.topics import INVENTORY_EVENTS
from deploy.local.stack import LocalStack
from services.kit.publisher import Publisher
from services.kit.work import Work, utc_now
from services.ops import measuring
from services.ops.rules import OPEN_STATES
from services.ops.store.stock import report
from services.order.order import State
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.stock import NOON, adjusted, told
from tests.ops.test_observing import change, letter

LOW_AT = 5


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"orderflow_{name}", labels)


async def measure(watch: Watch, stuck_after: timedelta = timedelta(minutes=1)) -> None:
    async with watch.pool.acquire() as db, db.transaction():
        await measuring.measure(Work(db, "ops"), stuck_after, LOW_AT)


async def test_what_is_parked_is_counted_by_service_until_it_is_closed(watch: Watch) -> None:
    parked, behind = letter(1), letter(2, state="waiting")
    await watch.hears(parked, behind)
    await measure(watch)
    assert sample("dead_letters_open", owner=parked.service) == 2
    assert sample("dead_letters_open", owner="ops") == 0
    await watch.hears(change(parked, 2, "replayed"), change(behind, 2, "discarded"))
    await measure(watch)
    assert sample("dead_letters_open", owner=parked.service) == 0


def in_state(state: str, age: timedelta = timedelta()) -> OrderAudited:
    (placed,) = history(uuid4(), 1)
    return placed.model_copy(update={"saga_state": state, "at": utc_now() - age})


async def test_orders_are_counted_by_state_and_those_that_wait_long_apart(watch: Watch) -> None:
    waiting = in_state("restoring", timedelta(minutes=5))
    await watch.hears(
        waiting, in_state("restoring"), in_state("shipped", timedelta(days=9)), in_state("archived")
    )
    await measure(watch)
    assert sample("orders_open", state="restoring") == 2
    assert sample("sagas_waiting", state="restoring") == 1
    assert sample("orders_open", state="shipped") == 1
    assert sample("sagas_waiting", state="shipped") is None  # nobody owes it an answer
    assert sample("orders_open", state="archived") is None
    over = waiting.model_copy(update={"saga_state": "cancelled", "version": 2})
    await watch.hears(over)
    await measure(watch)
    assert sample("orders_open", state="restoring") == 1
    assert sample("sagas_waiting", state="restoring") == 0


def test_the_states_that_are_counted_are_those_that_are_no_end() -> None:
    ends = {State.DELIVERED, State.ARCHIVED, State.CANCELLED, State.REFUNDED, State.ARCHIVED_UNDONE}
    assert set(OPEN_STATES) == {state.value for state in set(State) - ends}


async def test_products_are_counted_that_the_list_of_low_ones_has(watch: Watch) -> None:
    """Low at a threshold of its own, at that of the shop; never one that is gone."""
    low, own, plenty, gone = (uuid4() for _ in range(4))
    await watch.hears(
        told(low, 1, LOW_AT),
        told(own, 1, 20, low_stock_threshold=20),
        told(uuid4(), 1, LOW_AT, low_stock_threshold=LOW_AT - 1),
        told(plenty, 1, LOW_AT + 1),
        told(gone, 1, 0, removed=True),
        adjusted(uuid4(), 1),  # moved, and its level was not told yet
    )
    await watch.counts()
    await measure(watch)
    listed = await report(
        watch.pool,
        low_at=LOW_AT,
        low_only=True,
        search=None,
        product_id=None,
        after=None,
        since=NOON.date(),
        limit=100,
    )
    assert {row["product_id"] for row in listed} == {low, own}
    assert sample("products_low") == 2
    await watch.hears(told(low, 2, LOW_AT + 10))
    await measure(watch)
    assert sample("products_low") == 1


async def test_a_broken_audit_is_told(watch: Watch) -> None:
    await watch.hears(*history())
    measuring.tell(await watch.verdict())
    assert sample("audit_findings", kind="broken") == 0
    first = sample("audit_verified_timestamp_seconds")
    await watch.tamper("UPDATE audit_records SET changed_by = 'nobody' WHERE version = 2")
    measuring.tell(await watch.verdict())
    assert sample("audit_findings", kind="broken") == 1
    assert sample("audit_findings", kind="gaps") == 0
    again = sample("audit_verified_timestamp_seconds")
    assert first is not None
    assert again is not None
    assert again > first


async def acknowledge_all(servers: LocalStack, group: str) -> None:
    """As the last thing that a service did before it went away."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers.kafka, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    places = [
        TopicPartition(INVENTORY_EVENTS.name, number)
        for number in range(INVENTORY_EVENTS.partitions)
    ]
    consumer.assign(places)
    await consumer.commit(await consumer.end_offsets(places))
    await consumer.stop()


async def test_the_broker_is_asked_how_old_the_work_of_each_group_is(
    servers: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of groups that acknowledged something once and run no more: nobody else can tell."""
    first, second = (f"away-{uuid4().hex[:8]}" for _ in range(2))
    monkeypatch.setattr(measuring, "DEAD_LETTERS", {first: None, second: None})
    publisher = Publisher(servers.kafka, "test")

    async def send() -> None:
        await publisher.publish([outgoing(StockRestored(order_id=uuid4())) for _ in range(3)])

    async def ages() -> tuple[float | None, ...]:
        await measuring.measure_lags(servers.kafka)
        topic = INVENTORY_EVENTS.name
        return tuple(sample("group_lag_seconds", group=g, topic=topic) for g in (first, second))

    await send()
    await acknowledge_all(servers, first)
    await acknowledge_all(servers, second)
    assert await ages() == (0, 0)
    await send()
    await acknowledge_all(servers, second)
    await asyncio.sleep(1)
    await send()
    older, younger = await ages()
    assert older is not None
    assert younger is not None
    assert older > younger + 0.9 > 0.9
    await acknowledge_all(servers, first)
    await acknowledge_all(servers, second)
    assert await ages() == (0, 0)
    await publisher.stop()


async def test_the_audit_is_proved_without_being_asked(watch: Watch) -> None:
    await watch.hears(*history())
    await watch.tamper("DELETE FROM audit_records WHERE version = 3")
    with capture_logs() as logs:
        task = asyncio.create_task(
            measuring.keep_verifying(SimpleNamespace(pool=watch.pool), 0.01)  # type: ignore[arg-type]
        )
        async with asyncio.timeout(10):
            while not any("not whole" in entry["event"] for entry in logs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        task.cancel()
    assert sample("audit_findings", kind="broken") == 1
