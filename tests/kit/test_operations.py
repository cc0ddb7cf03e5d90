"""Parked messages are replayed and discarded by command: once, and with a true answer."""

from uuid import UUID, uuid4

from contracts.dead_letters import MessageParked, OperationAnswered, ParkedMessageChanged
from contracts.message import Envelope, Message
from contracts.operations import DiscardParked, ReplayParked
from contracts.registry import MESSAGES
from contracts.topics import INVENTORY_DEAD_LETTERS
from services.kit.messages import Outgoing
from services.kit.service import Service
from tests.kit.conftest import POISON, Bench, effects, eventually, parked
from tests.messages import outgoing

WHO = {"requested_by": "naledi", "reason": "the fault is mended"}


def asked(kind: type[ReplayParked | DiscardParked], parked_id: int, attempts: int) -> Outgoing:
    return outgoing(kind(service="inventory", parked_id=parked_id, attempts=attempts, **WHO))


async def told(bench: Bench, key: UUID) -> list[Message]:
    """What was said of the parked messages of a key."""
    records = await bench.records(INVENTORY_DEAD_LETTERS.name, 1)
    return [
        MESSAGES[Envelope.parse(record.headers).type].model_validate_json(record.value or b"")
        for record in records
        if record.key == str(key).encode()
    ]


async def answers(bench: Bench, key: UUID, count: int) -> list[str | None]:
    """The problems of so many answers."""

    async def look() -> list[str | None]:
        said = await told(bench, key)
        return [each.problem for each in said if isinstance(each, OperationAnswered)]

    found: list[str | None] = await eventually(look, lambda seen: len(seen) == count)
    return found


async def mend(service: Service) -> None:
    """Correct what makes the handler fail."""
    async with service.pool.acquire() as db:
        await db.execute(
            """
            UPDATE parked_messages
               SET payload = convert_to(replace(convert_from(payload, 'UTF8'), 'poison', 'mended'),
                                        'UTF8')
            """
        )


async def first_parked(service: Service, count: int) -> int:
    await eventually(lambda: parked(service), lambda rows: len(rows) == count)
    async with service.pool.acquire() as db:
        found: int = await db.fetchval("SELECT min(id) FROM parked_messages")
    return found


async def test_a_replay_that_two_people_ask_for_happens_once(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(bench.order(POISON, key), bench.order("behind it", key))
        number = await first_parked(service, 2)
        await mend(service)
        command = asked(ReplayParked, number, attempts=2)
        await bench.send(command, command, asked(ReplayParked, number, attempts=2))

        await eventually(lambda: effects(service), lambda rows: len(rows) == 2)
        problems = await answers(bench, key, 2)
        assert problems[0] is None
        assert problems[1] in ("its replay was asked for already", "it has been handled")

        await bench.send(asked(ReplayParked, number, attempts=2))  # a third comes late
        assert (await answers(bench, key, 3))[2] == "it has been handled"
        assert [reason for _, reason in await effects(service)] == ["mended", "behind it"]


async def test_what_came_of_a_replay_is_told_with_who_asked(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(bench.order(POISON, key))
        number = await first_parked(service, 1)
        command = asked(ReplayParked, number, attempts=2)
        await bench.send(command)

        async def failed_again() -> list[ParkedMessageChanged]:
            return [
                change
                for change in await told(bench, key)
                if isinstance(change, ParkedMessageChanged) and change.attempts == 3
            ]

        (change,) = await eventually(failed_again, bool)
        assert change.state == "parked"
        assert change.reason == "ValueError: this message always fails"
        assert str(change.operation_id) == command.message_id
        assert (change.changed_by, change.change_reason) == (WHO["requested_by"], WHO["reason"])

        # Whoever has not seen that it failed again has to look first.
        await bench.send(asked(ReplayParked, number, attempts=2))
        assert (await answers(bench, key, 2))[1] == "it was tried again meanwhile: look at it anew"
        async with service.pool.acquire() as db:
            assert await db.fetchval("SELECT attempts FROM parked_messages") == 3


async def test_discarding_lets_go_what_waits_and_is_told(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(bench.order(POISON, key), bench.order("behind it", key))
        number = await first_parked(service, 2)
        await bench.send(asked(ReplayParked, number + 1, attempts=0))
        (problem,) = await answers(bench, key, 1)
        assert problem is not None
        assert problem.startswith("it waits behind")
        await bench.send(asked(DiscardParked, number, attempts=2))
        await eventually(lambda: effects(service), lambda rows: len(rows) == 1)

        async def states() -> dict[int, str]:
            newest = {}
            for each in await told(bench, key):
                if isinstance(each, MessageParked | ParkedMessageChanged):
                    newest[each.parked_id] = each.state
            return newest

        closed = {number: "discarded", number + 1: "replayed"}
        await eventually(states, lambda seen: bool(seen == closed))


async def test_a_command_for_nothing_is_answered_too(bench: Bench) -> None:
    async with bench.running() as service:
        await bench.send(asked(DiscardParked, 4711, attempts=1))

        async def answered() -> list[str]:
            records = await bench.records(INVENTORY_DEAD_LETTERS.name, 1)
            return [text for r in records if "4711" in (text := (r.value or b"").decode())]

        (text,) = await eventually(answered, bool)
        assert "inventory has no parked message 4711" in text
        assert await parked(service) == []


async def test_changes_by_the_services_own_tool_are_told_as_well(bench: Bench) -> None:
    key = uuid4()
    async with bench.running() as service:
        await bench.send(bench.order(POISON, key))
        await first_parked(service, 1)
        async with service.pool.acquire() as db:
            await db.execute("UPDATE parked_messages SET state = 'discarded', closed_by = 'sipho'")

        async def discarded() -> list[ParkedMessageChanged]:
            return [m for m in await told(bench, key) if isinstance(m, ParkedMessageChanged)]

        (change,) = await eventually(discarded, bool)
        assert (change.state, change.changed_by, change.version) == ("discarded", "sipho", 2)
