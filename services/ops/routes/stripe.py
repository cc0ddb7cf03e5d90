"""What Stripe told of an order, as far as topics tell."""

from typing import Any

from fastapi import APIRouter

from contracts.stripe import StripeEventReceived
from services.ops.ops import TheOps, Viewer
from services.ops.routes.orders import trace
from services.ops.rules import said

router = APIRouter(prefix="/v1", tags=["orders"])


@router.get("/orders/{order}/stripe-events", summary="The events of Stripe about an order")
async def list_events(ops: TheOps, caller: Viewer, order: str) -> list[dict[str, Any]]:
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


def _change(audited: str | None) -> str | None:
    if audited is None:
        return None
    return f"{said(audited, 'old_status') or 'new'} -> {said(audited, 'new_status')}"
