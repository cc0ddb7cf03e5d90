"""What Stripe told of an order, as far as topics tell; and having it asked."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from contracts.payment import CheckPayment
from contracts.stripe import StripeEventReceived
from services.kit.auth import Caller
from services.kit.problems import ApiProblem
from services.ops.access import May, Task
from services.ops.asking import Reason, check_new
from services.ops.ops import TheOps, Viewer
from services.ops.routes.chosen import chosen
from services.ops.routes.orders import find, trace
from services.ops.routes.parameters import Named
from services.ops.rules import said

router = APIRouter(prefix="/v1", tags=["orders"])


@router.get("/orders/{order}/stripe-events", summary="The events of Stripe about an order")
async def list_events(ops: TheOps, caller: Viewer, order: Named) -> list[dict[str, Any]]:
    """The oldest first, by the id of the order or of its PaymentIntent. `came_by`: `webhook`, or
    `list` where the webhook had not come and Stripe was asked. `changed`: what became of the
    payment by it; null where it said nothing new."""
    entries = await trace(ops, caller, order)
    changes = {
        entry["causation_id"]: entry["summary"]
        for entry in entries
        if entry["topic"] == "audit.payment"
    }
    return [
        {
            "at": entry["sent_at"],
            "event_id": said(entry["summary"], "event_id"),
            "event_type": said(entry["summary"], "event_type"),
            "came_by": "webhook" if entry["source"] == "gateway" else "list",
            "changed": _change(changes.get(entry["message_id"])),
            "summary": entry["summary"],
        }
        for entry in entries
        if entry["type"] == StripeEventReceived.wire_type
    ]


class Request(BaseModel):
    reason: Reason


@router.put(
    "/orders/{order}/payment-checks/{check_id}", status_code=202, summary="Have Stripe asked"
)
async def check(
    ops: TheOps,
    caller: Annotated[Caller, Depends(May(Task.CHECK_PAYMENTS))],
    order: Named,
    check_id: UUID,
    body: Request,
) -> dict[str, Any]:
    """How the payment is, which is then settled by the answer. Once for each id: a UUIDv7 that the
    caller makes, and the id of the command. The payment service answers at once with where the
    payment stands, under this id as the cause; what Stripe's answer changes shows in the trace."""
    found = await find(ops.service.pool, order)
    if found["payment_intent_id"] is None:
        raise ApiProblem(404, "No PaymentIntent is known of this order: Stripe cannot be asked")
    order_id: UUID = found["order_id"]
    command = CheckPayment(order_id=order_id, requested_by=caller.customer_id, reason=body.reason)
    with chosen("check_id"):
        async with ops.service.transaction(publish="later") as work:
            check_new(check_id, work.now)
            work.send(command, message_id=check_id)
    return {"order_id": order_id, "check_id": check_id}


def _change(audited: str | None) -> str | None:
    if audited is None:
        return None
    return f"{said(audited, 'old_status') or 'new'} -> {said(audited, 'new_status')}"
