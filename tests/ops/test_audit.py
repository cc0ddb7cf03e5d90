"""The audit is whole, and shows it when somebody made it otherwise."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from contracts.order import OrderStatus
from contracts.registry import MESSAGES
from services.kit.messages import decode
from services.kit.work import Work
from services.ops.observing import observe
from services.ops.store.audit import find_heads, read_chain
from tests.gateway.other_side import order as published
from tests.messages import outgoing
from tests.ops.conftest import Watch, history


async def recorded(watch: Watch) -> int:
    found: int = await watch.owner.fetchval("SELECT count(*) FROM audit_records")
    return found


async def test_a_record_that_comes_again_is_recorded_once(watch: Watch) -> None:
    sent = [watch.record(message) for message in history()]
    await watch.hears(*sent)
    await watch.hears(*sent)  # a commit of the offsets was lost
    again = [record._replace(offset=record.offset + 100) for record in sent]
    await watch.hears(again[0], *again)  # the sweeper published it, too, and once more
    assert await recorded(watch) == 3
    assert (await watch.verdict()).right


async def test_two_owners_of_a_partition_do_not_branch_its_chain(watch: Watch) -> None:
    sent = [watch.record(message) for _ in range(20) for message in history()]
    await asyncio.gather(watch.hears(*sent), watch.hears(*sent[:30]), watch.hears(*sent[10:]))
    verdict = await watch.verdict()
    assert verdict.right, verdict
    assert verdict.records == 60
    assert len(verdict.chains) == 1


async def test_the_number_of_statements_does_not_depend_on_the_batch(watch: Watch) -> None:
    async with watch.pool.acquire() as db:

        async def statements(orders: int) -> int:
            seen: list[str] = []
            messages = [message for _ in range(orders) for message in history()]
            items = [decode(watch.record(message), MESSAGES) for message in messages]
            async with db.transaction():
                with db.query_logger(lambda record: seen.append(record.query)):
                    await observe(Work(db, "ops"), items)
                    await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn
            return len(seen)

        await statements(1)  # asyncpg asks for the types of arrays once
        assert await statements(1) == await statements(50) > 0


async def test_a_record_that_was_altered_shows(watch: Watch) -> None:
    trail = history()
    await watch.hears(*trail)
    await watch.tamper(
        "UPDATE audit_records SET payload = replace(payload, 'order-service', 'nobody')"
        " WHERE version = 2"
    )
    (broken,) = (await watch.verdict()).broken
    assert (broken.position, broken.what) == (2, "altered")
    assert broken.subject == str(trail[0].order_id)


async def test_a_record_that_was_altered_with_its_hash_shows_at_the_next(watch: Watch) -> None:
    await watch.hears(*history())
    ((chain, head),) = (await find_heads(watch.pool)).items()
    (link,) = await read_chain(watch.pool, chain, 1, 2, 1)
    assert head.length == 3
    forged = link.entry._replace(changed_by="nobody")
    await watch.tamper(
        "UPDATE audit_records SET changed_by = 'nobody', hash = $1 WHERE version = 2",
        forged.hash_after(link.previous),
    )
    (broken,) = (await watch.verdict()).broken
    assert (broken.position, broken.what) == (3, "does not follow its predecessor")


@pytest.mark.parametrize(
    ("version", "what"),
    [
        (1, "1 deleted before position 2"),
        (2, "1 deleted before position 3"),
        (3, "1 deleted at the end"),
    ],
)
async def test_a_record_that_was_deleted_shows(watch: Watch, version: int, what: str) -> None:
    await watch.hears(*history())
    await watch.tamper("DELETE FROM audit_records WHERE version = $1", version)
    (broken,) = (await watch.verdict()).broken
    assert (broken.position, broken.what) == (version, what)


async def test_a_whole_order_that_was_deleted_shows(watch: Watch) -> None:
    gone = uuid4()
    await watch.hears(*history(), *history(gone), *history())
    await watch.tamper("DELETE FROM audit_records WHERE subject = $1", str(gone))
    verdict = await watch.verdict()
    assert [broken.what for broken in verdict.broken] == ["3 deleted before position 7"]
    assert not verdict.gaps


async def test_a_version_that_never_came_shows_as_a_gap(watch: Watch) -> None:
    first, _lost, third = history()
    await watch.hears(first, third)
    verdict = await watch.verdict()
    assert not verdict.broken
    (gap,) = verdict.gaps
    assert "version 3 does not follow 1" in gap


async def test_a_status_that_does_not_follow_the_last_shows(watch: Watch) -> None:
    first, second, third = history()
    await watch.hears(first, second.model_copy(update={"old_status": OrderStatus.SHIPPED}), third)
    (gap,) = (await watch.verdict()).gaps
    assert "version 2 does not follow 1" in gap


async def test_versions_that_come_out_of_order_are_no_gap(watch: Watch) -> None:
    first, second, third = history()
    await watch.hears(second)
    await watch.hears(third, first)
    assert (await watch.verdict()).right


async def test_an_end_that_is_not_what_was_published_shows(watch: Watch) -> None:
    order_id = uuid4()
    await watch.hears(*history(order_id, 2), published(order_id, "anna", 2, status="confirmed"))
    assert (await watch.verdict()).right
    await watch.hears(published(order_id, "anna", 3, status="processing"))
    (difference,) = (await watch.verdict()).differences
    assert "is processing in version 3, its audit ends with confirmed in version 2" in difference


async def test_the_running_service_can_only_add_to_the_audit(watch: Watch) -> None:
    await watch.hears(*history())
    for statement in (
        "UPDATE audit_records SET changed_by = 'nobody'",
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
        "DELETE FROM audit_chains",
        "ALTER TABLE audit_records DISABLE TRIGGER ALL",
        "DROP TABLE audit_records",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await watch.pool.execute(statement)
    assert await recorded(watch) == 3


async def test_not_even_the_owner_changes_the_audit_by_mistake(watch: Watch) -> None:
    await watch.hears(*history())
    for statement in (
        "UPDATE audit_records SET changed_by = 'nobody'",
        "DELETE FROM audit_records",
        "TRUNCATE audit_records",
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="only ever added"):
            await watch.owner.execute(statement)


async def test_the_inbox_gets_its_partitions_from_the_runtime_role(watch: Watch) -> None:
    await watch.owner.execute("SELECT maintain_inbox(interval '100 days', 9)")
    await watch.pool.execute("SELECT maintain_inbox(interval '100 days', 12)")
    await watch.hears(outgoing(history()[0]))
