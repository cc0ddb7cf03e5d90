"""Asking inventory to adjust a stock level: by command, once, and with a name and a reason."""

from typing import Any
from uuid import UUID

from contracts.inventory import AdjustStock
from services.kit.work import Work
from services.ops.asking import OtherRequest, check_new
from services.ops.store import adjustments


async def ask(work: Work, adjustment_id: UUID, command: AdjustStock) -> dict[str, Any]:
    """Send the command under this id, unless that was done before; how it stands now.

    Raises:
        UnusableId, OtherRequest
    """
    found = await adjustments.find_adjustment(work.db, adjustment_id)
    if found is None:
        check_new(adjustment_id, work.now)
        if await adjustments.insert_adjustment(work.db, adjustment_id, command, work.now):
            work.send(command, message_id=adjustment_id)
        found = await adjustments.find_adjustment(work.db, adjustment_id)
    asked = dict(found or {})
    if any(asked[name] != value for name, value in command.model_dump().items()):
        raise OtherRequest(f"{adjustment_id} is another adjustment")
    return asked
