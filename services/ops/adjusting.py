"""Asking inventory to adjust a stock level: by command, once, and with a name and a reason."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from contracts.inventory import AdjustStock
from contracts.message import sent_at_ms
from services.kit.work import Work
from services.ops.store import adjustments

FRESH_FOR: Final = timedelta(days=1)
"""How old the id of a new adjustment may be: inventory takes no command older than its inbox."""


class UnusableId(ValueError):  # noqa: N818  # an answer more than an error
    """The id that was chosen cannot be that of a new command."""


class OtherAdjustment(ValueError):  # noqa: N818
    """The id is that of an adjustment that says something else."""


async def ask(work: Work, adjustment_id: UUID, command: AdjustStock) -> dict[str, Any]:
    """Send the command under this id, unless that was done before; how it stands now.

    Raises:
        UnusableId, OtherAdjustment
    """
    found = await adjustments.find_adjustment(work.db, adjustment_id)
    if found is None:
        _check(work, adjustment_id)
        if await adjustments.insert_adjustment(work.db, adjustment_id, command, work.now):
            work.send(command, message_id=adjustment_id)
        found = await adjustments.find_adjustment(work.db, adjustment_id)
    asked = dict(found or {})
    if any(asked[name] != value for name, value in command.model_dump().items()):
        raise OtherAdjustment(f"{adjustment_id} is another adjustment")
    return asked


def _check(work: Work, adjustment_id: UUID) -> None:
    if (adjustment_id.int >> 76) & 0xF != 7:
        raise UnusableId("the id is not a UUIDv7")
    age = work.now.timestamp() - sent_at_ms(adjustment_id) / 1000
    if abs(age) > FRESH_FOR.total_seconds():
        raise UnusableId("the id was not made within the last day")
