"""After a restore: what was decided since the backup is decided anew, not heard of again."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.kit.undone import Undone
from tests.kit.conftest import Bench, effects, eventually, parked

_HOUR = timedelta(hours=1)


async def _undo(bench: Bench, *spans: tuple[datetime, datetime]) -> None:
    written = ",".join(f"{begin.isoformat()}/{end.isoformat()}" for begin, end in spans)
    db = await asyncpg.connect(bench.dsn)
    name = await db.fetchval("SELECT current_database()")
    await db.execute(f"ALTER DATABASE {name} SET orderflow.undone = '{written}'")
    await db.close()


async def test_only_people_are_heard_of_the_time_that_a_restore_undid(bench: Bench) -> None:
    """A decision of a service counts no more, a request of somebody outside does."""
    now = datetime.now(UTC)
    await _undo(bench, (now - 3 * _HOUR, now - 2 * _HOUR), (now - _HOUR, now + _HOUR))
    decided = bench.order("decided by a service")._replace(source="order")
    asked = bench.order("asked by a customer")._replace(source="gateway")
    staff = bench.order("asked by staff")._replace(source="ops")
    async with bench.running() as service:
        await bench.send(decided, asked, staff)
        rows = await eventually(lambda: effects(service), lambda rows: len(rows) >= 2)
    assert {reason for _, reason in rows} == {"asked by a customer", "asked by staff"}
    # What was passed over is settled, too.
    async with bench.running() as service:
        await bench.send(bench.order("later")._replace(source="gateway"))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 3)


async def test_what_was_decided_before_and_after_it_counts(bench: Bench) -> None:
    now = datetime.now(UTC)
    await _undo(bench, (now - 2 * _HOUR, now - _HOUR), (now + _HOUR, now + 2 * _HOUR))
    async with bench.running() as service:
        await bench.send(bench.order("now")._replace(source="order"))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)


async def test_a_record_without_a_sender_is_parked_as_ever(bench: Bench) -> None:
    now = datetime.now(UTC)
    await _undo(bench, (now - _HOUR, now + _HOUR))
    producer = await bench.publisher._main.started()
    await producer.send_and_wait(bench.topic.name, b"{}", key=b"somebody")
    async with bench.running() as service:
        [(state, _)] = await eventually(lambda: parked(service), lambda rows: len(rows) == 1)
    assert state == "parked"


@pytest.mark.parametrize(
    ("spans", "wrong"),
    [
        ("soon", "Invalid isoformat"),
        ("2026-11-27T10:00:00/2026-11-27T11:00:00", "without its zone"),
        ("2026-11-27T10:00:00Z/", "Invalid isoformat"),
        ("2026-11-27T10:00:00Z", "not enough values"),
    ],
)
def test_a_span_that_is_none_is_refused(spans: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Undone(spans)
