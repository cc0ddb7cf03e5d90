"""Notes of staff on an order."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from services.kit.auth import Caller
from services.ops import noting
from services.ops.access import May, Task
from services.ops.noting import Text
from services.ops.ops import TheOps
from services.ops.routes.chosen import chosen
from services.ops.routes.orders import find
from services.ops.routes.parameters import Named
from services.ops.store.notes import Note

router = APIRouter(prefix="/v1/orders", tags=["orders"])


class Request(BaseModel):
    text: Text
    """For staff; no personal data of customers."""


@router.put("/{order}/notes/{note_id}", summary="Write a note on an order")
async def write(
    ops: TheOps,
    caller: Annotated[Caller, Depends(May(Task.WRITE_NOTES))],
    order: Named,
    note_id: UUID,
    body: Request,
) -> dict[str, Any]:
    """Once for each id: a UUIDv7 that the caller makes. A note is never changed, nor taken back."""
    order_id = (await find(ops.service.pool, order))["order_id"]
    with chosen("note_id"):
        async with ops.service.transaction() as work:
            return await noting.write(work, Note(note_id, order_id, body.text, caller.customer_id))
