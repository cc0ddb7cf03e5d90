"""Asking a service to replay or discard its parked messages: by command, once, and with a name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from contracts.message import new_message_id
from contracts.operations import DiscardParked, ReplayParked
from services.kit.work import Work
from services.ops.store import letters, operations
from services.ops.store.letters import Letter

Operation = Literal["replay", "discard"]

_COMMANDS: dict[Operation, type[ReplayParked | DiscardParked]] = {
    "replay": ReplayParked,
    "discard": DiscardParked,
}
_OPEN_STATES: dict[Operation, frozenset[str]] = {
    "replay": frozenset({"parked"}),
    "discard": frozenset({"parked", "waiting", "replay"}),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What became of asking for one message: a command was sent, or why none was."""

    service: str
    parked_id: int
    operation_id: UUID | None = None
    problem: str | None = None


async def ask(
    work: Work, operation: Operation, wanted: Sequence[Letter], *, by: str, reason: str
) -> list[Asked]:
    """Send one command for each message that can be acted upon; in the order given."""
    found = {
        (row["service"], row["parked_id"]): row
        for row in await letters.find_letters(work.db, list(dict.fromkeys(wanted)))
    }
    able = {
        letter: new_message_id()
        for letter, row in found.items()
        if row["state"] in _OPEN_STATES[operation]
    }
    begun = set()
    if able:
        begun = await operations.insert_operations(
            work.db,
            [
                (
                    *(operation_id, operation, *letter, found[letter]["attempts"]),
                    *(found[letter]["correlation_id"], by, reason, work.now),
                )
                for letter, operation_id in sorted(able.items())
            ],
        )
    asked = []
    for letter in dict.fromkeys(wanted):
        row, operation_id = found.get(letter), able.get(letter)
        if row is None:
            problem = f"{letter[0]} has announced no parked message {letter[1]}"
            asked.append(Asked(*letter, problem=problem))
        elif operation_id is None:
            asked.append(Asked(*letter, problem=f"it is {row['state']}"))
        elif operation_id not in begun:
            asked.append(Asked(*letter, problem="somebody has asked already: wait for the outcome"))
        else:
            work.send(
                _COMMANDS[operation](
                    service=letter[0],
                    parked_id=letter[1],
                    attempts=row["attempts"],
                    requested_by=by,
                    reason=reason,
                ),
                correlation_id=row["correlation_id"],
                message_id=operation_id,
            )
            asked.append(Asked(*letter, operation_id=operation_id))
    return asked
