"""Orders in saga states that this release does not know, while two releases run side by side.

The newer release owns them. The sweeper leaves their deadlines to it (`store.lock_due_orders`). A
message about one cannot be left: its partition belongs to this replica. It becomes a dead letter,
what follows it under its key waits behind it, and a replica that knows the state replays it. See
docs/decisions/0031.
"""

from typing import Final

from services.kit.telemetry import log
from services.kit.work import Work
from services.order import stuck_store

_UNKNOWN: Final = "unknown saga state"
_AT_ONCE: Final = 500


def unknown_state(state: str) -> str:
    """The reason of the dead letter, and of the order that nobody takes."""
    return f"{_UNKNOWN} {state!r}: left to the release that knows it, which goes on by itself"


async def replay_dead_letters(work: Work) -> None:
    """Replay messages that a replica of an older release could not handle, where this one can."""
    waiting = await stuck_store.replayable_dead_letters(work.db, _UNKNOWN, _AT_ONCE)
    if not waiting:
        return
    known = await stuck_store.in_known_states(work.db, set(waiting.values()))
    due = [dead_letter for dead_letter, order_id in waiting.items() if order_id in known]
    if due:
        await stuck_store.replay(work.db, due)
        log.info("dead letters of an older release are replayed", messages=len(due))
