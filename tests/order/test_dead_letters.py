"""Messages about orders that cannot be read now wait, and are replayed without an operator: those
in states that only a newer release knows, and those whose rows are invalid."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import ValidationError

from contracts.order import RetryOrder
from services.kit import parking
from services.kit.isolation import reason_of
from services.kit.work import Work
from services.order.dead_letters import InvalidOrder, replay_dead_letters
from services.order.deadlines import LEFT_TO_NEWER
from services.order.sweeper import sweep_deadlines
from tests.messages import incoming
from tests.order.conftest import Desk, place, reserved


async def in_newer_state(desk: Desk) -> UUID:
    """An order as a replica of a newer release leaves it: with a version, so no edit by SQL."""
    await desk.hear(order := place())
    await desk.db.execute(
        "UPDATE orders SET saga_state = 'picking', version = version + 1 WHERE id = $1",
        order.order_id,
    )
    return order.order_id


async def overdue(desk: Desk, by: timedelta) -> Work:
    await desk.db.execute("UPDATE orders SET deadline_at = now() - $1::interval", by)
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await sweep_deadlines(work, desk.handlers)
    return work


async def test_a_deadline_is_left_to_the_newer_release(desk: Desk) -> None:
    await in_newer_state(desk)
    assert (await overdue(desk, timedelta(seconds=10))).outgoing == []
    assert await desk.db.fetchval("SELECT stuck_reason FROM orders") is None


async def test_an_order_that_no_release_takes_is_shown(desk: Desk) -> None:
    await in_newer_state(desk)
    work = await overdue(desk, LEFT_TO_NEWER + timedelta(seconds=1))
    assert [m.type for m in work.outgoing] == ["audit.order-waits.v1"]
    reason = await desk.db.fetchval("SELECT stuck_reason FROM orders")
    assert reason.startswith("unknown saga state 'picking'")


async def test_a_message_waits_for_the_newer_release_and_others_go_on(desk: Desk) -> None:
    newer = await in_newer_state(desk)
    await desk.hear(order := place())
    await desk.hear(reserved(newer), reserved(order.order_id))
    assert "payment.request-payment.v1" in desk.sent_types()
    (reason,) = desk.parked
    assert reason.startswith("unknown saga state 'picking'")


async def test_a_retry_of_such_an_order_is_refused_and_not_an_error(desk: Desk) -> None:
    newer = await in_newer_state(desk)
    await desk.hear(RetryOrder(order_id=newer, requested_by="naledi", reason="now"))
    assert desk.sent_types() == ["order.command-refused.v1"]


async def park(desk: Desk, order_id: UUID) -> None:
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await desk.handlers.hear(work, [incoming(reserved(order_id))])
        await parking.park(work, "order")


async def state_of_dead_letter(desk: Desk) -> str:
    async with desk.db.transaction():
        await replay_dead_letters(Work(desk.db, "order"))
    state = await desk.db.fetchval("SELECT state FROM parked_messages")
    assert isinstance(state, str)
    return state


async def test_a_release_that_knows_the_state_replays_the_message(desk: Desk) -> None:
    newer = await in_newer_state(desk)
    await park(desk, newer)
    await desk.db.execute("UPDATE parked_messages SET parked_at = now() - interval '1 minute'")
    assert await state_of_dead_letter(desk) == "parked"  # this one does not know it either
    await desk.db.execute(
        "UPDATE orders SET saga_state = 'reserving', version = version + 1 WHERE id = $1", newer
    )
    assert await state_of_dead_letter(desk) == "replay"


@pytest.mark.parametrize(("seconds", "state"), [(5, "parked"), (40, "replay")])
async def test_replicas_of_two_releases_do_not_hand_it_to_each_other_all_the_time(
    desk: Desk, seconds: int, state: str
) -> None:
    newer = await in_newer_state(desk)
    await park(desk, newer)
    await desk.db.execute("UPDATE orders SET saga_state = 'reserving', version = version + 1")
    await desk.db.execute(
        "UPDATE parked_messages SET attempts = 4, parked_at = now() - $1::interval",
        timedelta(seconds=seconds),
    )
    assert await state_of_dead_letter(desk) == state


async def test_a_message_about_an_invalid_order_fails_alone_and_is_replayed(desk: Desk) -> None:
    await desk.hear(broken := place(), order := place())
    order_id = broken.order_id
    lines = await desk.db.fetchval("SELECT lines FROM orders WHERE id = $1", order_id)
    await desk.db.execute("UPDATE orders SET lines = '[1]' WHERE id = $1", order_id)
    with pytest.raises(ValidationError):  # of a batch: the kit cuts it
        await desk.hear(reserved(order_id), reserved(order.order_id))
    with pytest.raises(InvalidOrder) as failed:
        await desk.hear(reserved(order_id))
    await desk.hear(reserved(order.order_id))
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        work.park(incoming(reserved(order_id)), reason_of(failed.value))
        await parking.park(work, "order")
    await desk.db.execute("UPDATE orders SET lines = $2 WHERE id = $1", order_id, lines)
    await desk.db.execute("UPDATE parked_messages SET parked_at = now() - interval '1 minute'")
    assert await state_of_dead_letter(desk) == "replay"


async def test_other_dead_letters_are_left_to_people(desk: Desk) -> None:
    async with desk.db.transaction():
        work = Work(desk.db, "order")
        await desk.handlers.hear(work, [incoming(reserved(place().order_id))])
        await parking.park(work, "order")
    await desk.db.execute("UPDATE parked_messages SET parked_at = now() - interval '1 day'")
    assert await state_of_dead_letter(desk) == "parked"
