"""Notes of staff on orders: kept once, and as they were written."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import TypeAdapter, ValidationError

from contracts.message import new_message_id
from services.ops.asking import OtherRequest, UnusableId
from services.ops.noting import LONGEST_NOTE, Text, write
from services.ops.store.notes import Note, find_of_order
from services.ops.store.timeline import count_news
from tests.ops.conftest import Watch

ORDER = uuid4()


def note(text: str = "the courier lost it", note_id: UUID | None = None) -> Note:
    return Note(note_id or new_message_id(), ORDER, text, "naledi")


async def keep(watch: Watch, wanted: Note) -> None:
    async with watch.work.begin() as work:
        await write(work, wanted)


async def texts(watch: Watch) -> list[str]:
    return [row["text"] for row in await find_of_order(watch.pool, ORDER, 10)]


async def test_a_note_has_its_author_and_its_time(watch: Watch) -> None:
    await keep(watch, note())
    await keep(watch, note("a new one left today"))
    first, second = await find_of_order(watch.pool, ORDER, 10)
    assert (first["text"], first["written_by"]) == ("the courier lost it", "naledi")
    assert first["written_at"] <= second["written_at"]
    assert await texts(watch) == ["the courier lost it", "a new one left today"]
    assert await find_of_order(watch.pool, uuid4(), 10) == []


async def test_a_note_that_is_sent_twice_is_there_once(watch: Watch) -> None:
    wanted = note()
    await keep(watch, wanted)
    await keep(watch, wanted)
    assert await texts(watch) == [wanted.text]
    for other in (
        note("something else", wanted.id),
        wanted._replace(order_id=uuid4()),
        wanted._replace(written_by="vusi"),
    ):
        with pytest.raises(OtherRequest):
            await keep(watch, other)


async def test_two_replicas_keep_it_once(watch: Watch) -> None:
    wanted = note()
    await asyncio.gather(*(keep(watch, wanted) for _ in range(4)))
    assert await texts(watch) == [wanted.text]


async def test_an_id_is_made_for_the_note(watch: Watch) -> None:
    with pytest.raises(UnusableId):
        await keep(watch, note(note_id=uuid4()))


async def test_nobody_changes_a_note(watch: Watch) -> None:
    await keep(watch, note())
    for statement in ("UPDATE order_notes SET text = 'x'", "DELETE FROM order_notes"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await watch.pool.execute(statement)
        with pytest.raises(asyncpg.CheckViolationError, match="only ever added"):
            await watch.owner.execute(statement)
    with pytest.raises(asyncpg.CheckViolationError, match="only ever added"):
        await watch.owner.execute("TRUNCATE order_notes")


async def test_an_open_page_hears_of_a_note(watch: Watch) -> None:
    before = await count_news(watch.pool, ORDER, [str(ORDER)])
    await keep(watch, note())
    assert await count_news(watch.pool, ORDER, [str(ORDER)]) == before + 1


@pytest.mark.parametrize("text", ["", "  \n", "x" * (LONGEST_NOTE + 1), "a\x00b"])
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Text).validate_python(text)


async def test_the_database_has_the_same_limit(watch: Watch) -> None:
    assert TypeAdapter(Text).validate_python(" one\ntwo ") == "one\ntwo"
    await keep(watch, note("x" * LONGEST_NOTE))
    with pytest.raises(asyncpg.CheckViolationError):
        await keep(watch, note("x" * (LONGEST_NOTE + 1)))
