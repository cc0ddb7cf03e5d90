"""How orders wait for an answer: rounds and the next try, as the order service tells them."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from contracts.audit import OrderAudited, OrderWaits
from contracts.message import new_message_id
from contracts.order import OrderStatus
from services.ops import bulk
from services.ops.bulk import Action
from services.ops.store.bulks import Bulk
from services.ops.store.orders import find_order
from services.ops.store.sagas import list_stuck
from tests.messages import outgoing
from tests.ops.conftest import Watch, history
from tests.ops.test_bulk import refused, updated

BEFORE = datetime(2000, 1, 1, tzinfo=UTC)


def waits(of: OrderAudited, rounds: int, **changes: object) -> OrderWaits:
    """Ten seconds a round, after the change that led there."""
    at = of.at + timedelta(seconds=10 * rounds)
    told = OrderWaits(
        order_id=of.order_id,
        saga_state=of.saga_state,
        rounds=rounds,
        next_try_at=at + timedelta(seconds=10),
        at=at,
    )
    return told.model_copy(update=changes)


async def rounds(watch: Watch, order_id: UUID) -> int:
    found = await find_order(watch.pool, order_id)
    assert found is not None
    return int(found["rounds"])


async def test_a_waiting_order_has_its_rounds_and_its_next_try(watch: Watch) -> None:
    placed = history(versions=1)[0]
    await watch.hears(placed)
    (row,) = await list_stuck(watch.pool, ["reserving"], placed.at, 10)
    assert (row["rounds"], row["next_try_at"]) == (0, None)
    first, second = waits(placed, 1), waits(placed, 2)
    await watch.hears(second, first)
    await watch.hears(first)  # the older one, late
    (row,) = await list_stuck(watch.pool, ["reserving"], placed.at, 10)
    assert (row["rounds"], row["next_try_at"]) == (2, second.next_try_at)


async def test_the_next_step_begins_to_count_anew(watch: Watch) -> None:
    placed, other = history(versions=2)
    confirmed = other.model_copy(update={"saga_state": "requesting_payment"})
    await watch.hears(placed, waits(placed, 1))
    assert await rounds(watch, placed.order_id) == 1
    await watch.hears(confirmed)
    assert await rounds(watch, placed.order_id) == 0
    await watch.hears(waits(placed, 2))  # of the step before
    assert await rounds(watch, placed.order_id) == 0
    again = placed.model_copy(update={"version": 3, "at": confirmed.at + timedelta(hours=1)})
    await watch.hears(again)
    await watch.hears(waits(placed, 3))  # the same state, but another time
    assert await rounds(watch, placed.order_id) == 0
    await watch.hears(waits(again, 1))
    assert await rounds(watch, placed.order_id) == 1


async def stuck_reason(watch: Watch, order_id: UUID) -> str | None:
    found = await find_order(watch.pool, order_id)
    assert found is not None
    reason: str | None = found["stuck_reason"]
    return reason


async def listed(watch: Watch, *states: str, failing: bool = False) -> list[UUID]:
    rows = await list_stuck(watch.pool, states, BEFORE, 10, failing=failing)
    return [row["order_id"] for row in rows]


async def test_an_order_that_cannot_be_advanced_is_listed_first_until_it_goes_on(
    watch: Watch,
) -> None:
    placed, *later = history(versions=2)
    await watch.hears(placed, waits(placed, 0, stuck_reason="lines: of anna@example.com"))
    assert await stuck_reason(watch, placed.order_id) == "lines: of ***"
    assert await listed(watch, failing=True) == [placed.order_id]
    assert await listed(watch, "reserving") == [placed.order_id]  # once, although it is both
    assert await listed(watch, "restoring") == []
    await watch.hears(waits(placed, 1))
    assert await stuck_reason(watch, placed.order_id) is None
    await watch.hears(waits(placed, 2, stuck_reason="again"))
    await watch.hears(*(each.model_copy(update={"saga_state": "confirmed"}) for each in later))
    assert await stuck_reason(watch, placed.order_id) is None


async def test_an_order_whose_state_was_edited_is_shown_and_its_recovery_too(
    watch: Watch,
) -> None:
    """Ops knows the state of the last audit record only."""
    placed = history(versions=1)[0]
    broken = {"saga_state": "lost", "stuck_reason": "unknown saga state 'lost'"}
    await watch.hears(placed, waits(placed, 0, **broken))
    assert await stuck_reason(watch, placed.order_id) == broken["stuck_reason"]
    await watch.hears(waits(placed, 1, saga_state="awaiting_payment"))
    assert await stuck_reason(watch, placed.order_id) is None


async def test_a_retry_of_a_stuck_order_leaves_it_stuck_until_it_succeeds(watch: Watch) -> None:
    placed = history(versions=1)[0]
    asked = waits(placed, 1, requested_by="naledi", reason="mended", stuck_reason="broken")
    await watch.hears(placed, waits(placed, 0, stuck_reason="broken"), asked)
    assert await stuck_reason(watch, placed.order_id) == "broken"


async def test_the_audit_keeps_what_people_asked_for_and_not_what_a_timer_did(
    watch: Watch,
) -> None:
    placed, confirmed, _ = history()
    asked = waits(placed, 1, requested_by="naledi", reason="inventory is back")
    await watch.hears(placed, waits(placed, 1), asked, confirmed)
    rows = await watch.owner.fetch(
        "SELECT action, changed_by, version, position FROM audit_records ORDER BY position"
    )
    assert [tuple(row) for row in rows] == [
        ("order.place-order.v1", "order-service", 1, 1),
        ("order.retry-order.v1", "naledi", None, 2),
        ("order.place-order.v1", "order-service", 2, 3),
    ]
    verdict = await watch.verdict()
    assert verdict.records == 3
    assert verdict.right


async def test_a_retry_at_the_end_of_an_audit_is_no_difference(watch: Watch) -> None:
    placed = history(versions=1)[0]
    asked = waits(placed, 1, requested_by="naledi", reason="inventory is back")
    await watch.hears(updated(placed.order_id, OrderStatus.PENDING), placed, asked)
    assert (await watch.verdict()).right


async def test_a_retry_has_its_answer(watch: Watch) -> None:
    orders = [history(uuid4(), versions=1)[0] for _ in range(3)]
    await watch.hears(*orders)
    wanted = Bulk(new_message_id(), Action.RETRY, None, "naledi", "inventory is back")
    async with watch.work.begin() as work:
        await bulk.ask(work, wanted, [order.order_id for order in orders])
        assert {sent.type for sent in work.outgoing} == {"order.retry-order.v1"}
        commands = {sent.key: sent.message_id for sent in work.outgoing}
    taken, not_taken, silent = orders
    asked = waits(taken, 1, requested_by="naledi", reason="inventory is back")
    await watch.hears(
        outgoing(asked)._replace(causation_id=commands[str(taken.order_id)]),
        outgoing(refused(not_taken.order_id))._replace(
            causation_id=commands[str(not_taken.order_id)]
        ),
        waits(silent, 1),
    )
    found = await bulk.look(watch.owner, wanted.id)
    assert {row["order_id"]: row["outcome"] for row in found["orders"]} == {
        taken.order_id: "accepted",
        not_taken.order_id: "refused",
        silent.order_id: "waiting",
    }
