"""Dead letters about orders that cannot be read now, which are replayed without an operator.

While two releases run side by side, the newer one owns the saga states that the older one does not
know. The sweeper leaves their deadlines to it (`store.lock_due_orders`). A message about such an
order cannot be left: its partition belongs to this replica. It becomes a dead letter, what follows
it under its key waits behind it, and a replica that knows the state replays it. A message about an
order whose row is invalid is replayed as well, so that nothing but the row has to be mended. See
docs/decisions/0031.
"""

from typing import Final

from services.kit.telemetry import log
from services.kit.work import Work
from services.order import stuck_store

_UNKNOWN: Final = "unknown saga state"
_AT_ONCE: Final = 500


class InvalidOrder(Exception):  # noqa: N818  # the beginning of the dead letter's reason
    """The row of an order, or its history, cannot be read."""


def unknown_state(state: str) -> str:
    """The reason of the dead letter, and of the order that no release takes."""
    return f"{_UNKNOWN} {state!r}: left to the release that knows it, which goes on by itself"


async def replay_dead_letters(work: Work) -> None:
    """Replay messages about orders that this release may be able to read now."""
    waiting = await stuck_store.replayable_dead_letters(
        work.db, [_UNKNOWN, InvalidOrder.__name__], _AT_ONCE
    )
    if not waiting:
        return
    known = await stuck_store.in_known_states(work.db, set(waiting.values()))
    due = [dead_letter for dead_letter, order_id in waiting.items() if order_id in known]
    if due:
        await stuck_store.replay(work.db, due)
        log.info("dead letters are replayed", messages=len(due))
