"""Tells an open page that its order has news, as server-sent events.

The page then asks for its part anew: what a browser shows comes from one template, live or not.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

from fastapi import APIRouter, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from services.kit.db import Pool
from services.kit.problems import ApiProblem
from services.ops.console.session import Reader, SignInFirst, visitor_of
from services.ops.ops import TheOps
from services.ops.routes import orders as api
from services.ops.store import timeline

router = APIRouter()

_LOOK_EVERY = 1.0
_BEATS_EVERY = 10
"""Looks between two signs of life. The page calls itself stale when it misses some."""


@router.get("/orders/{order}/events")
async def follow(request: Request, ops: TheOps, visitor: Reader, order: str) -> EventSourceResponse:
    """`changed` when there is news of the order, `alive` now and then."""
    found = await api.show_order(ops, visitor.caller, order)
    subjects = [str(found["order_id"])]
    if found["payment_intent_id"]:
        subjects.append(found["payment_intent_id"])
    news = _news(ops.service.pool, found["order_id"], subjects, request)
    return EventSourceResponse(news, send_timeout=30)


async def _news(
    pool: Pool, order_id: UUID, subjects: list[str], request: Request
) -> AsyncIterator[ServerSentEvent]:
    """Ends with the visitor's token: who asks again is told to sign in."""
    seen, look = -1, 0
    while True:
        count = await timeline.count_news(pool, order_id, subjects)
        # The first one too: the page is a moment older than this stream.
        if count != seen:
            yield ServerSentEvent(str(count), event="changed")
        elif look % _BEATS_EVERY == 0:
            yield ServerSentEvent("", event="alive")
            try:
                await visitor_of(request)
            except (ApiProblem, SignInFirst):
                return
        seen, look = count, look + 1
        await asyncio.sleep(_LOOK_EVERY)
