"""An order's status changes as server-sent events."""

import re
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter, Header
from sse_starlette import EventSourceResponse, ServerSentEvent

from contracts.order import OrderUpdated
from services.gateway.channels import ORDER_CHANGED
from services.gateway.gateway import TheGateway
from services.gateway.routes.orders import visible_order
from services.gateway.waiting import Hub
from services.kit.auth import SignedIn

router = APIRouter(prefix="/v1/orders", tags=["orders"])

_HEARTBEAT_SECONDS = 15
_NUMBER = re.compile(r"[0-9]{1,9}")


@router.get(
    "/{order_id}/events",
    response_class=EventSourceResponse,
    summary="Follow an order",
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def follow(
    gateway: TheGateway,
    caller: SignedIn,
    order_id: UUID,
    last_event_id: Annotated[
        str | None, Header(description="id of the last event that you have")
    ] = None,
) -> EventSourceResponse:
    """One event `status` per change of status, beginning with those you do not have yet.

    The id of an event is the number of the change in the order's history, from 1. The stream
    stays open until you close it; comments in between keep the connection alive.
    """
    await visible_order(gateway, caller, order_id)
    seen = int(last_event_id or 0) if _NUMBER.fullmatch(last_event_id or "") else 0
    return EventSourceResponse(
        _changes(gateway.hub, order_id, seen), ping=_HEARTBEAT_SECONDS, send_timeout=30
    )


async def _changes(hub: Hub, order_id: UUID, seen: int) -> AsyncIterator[ServerSentEvent]:
    """Waits without a database connection; a listener begins with what is known."""
    with hub.listen(ORDER_CHANGED, order_id) as listener:
        while document := await listener.next():
            order = OrderUpdated.model_validate_json(document)
            for number, change in enumerate(order.history[seen:], seen + 1):
                data = {"order_id": str(order_id), **change.model_dump(mode="json")}
                yield ServerSentEvent(orjson.dumps(data).decode(), event="status", id=str(number))
            seen = max(seen, len(order.history))
