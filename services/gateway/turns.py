"""Turns of requests: so many are worked on at once, the others wait in line, in their order.

A process that begins on everything that arrives serves nobody when too much arrives: all requests
slow each other down until their callers give up and ask again, and that keeps it so. In a line of
bounded patience those at the front are served at full speed, and the rest hear soon that they
should come again.
"""

import asyncio
from collections.abc import Collection
from contextvars import ContextVar

from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp, Receive, Scope, Send

from services.kit.problems import problem_response, unavailable

IN_LINE = Gauge("orderflow_gateway_in_line", "Requests that wait for their turn")
TURNED_AWAY = Counter(
    "orderflow_gateway_turned_away_total", "Requests that waited too long in line"
)


class _Turn:
    """One place among those that are worked on, given back once."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def leave(self) -> None:
        if self._places is not None:
            self._places.release()
            self._places = None


_mine: ContextVar[_Turn | None] = ContextVar("turn", default=None)


def leave_turn() -> None:
    """Let the next request begin: this one waits for news from elsewhere and works on nothing."""
    if turn := _mine.get():
        turn.leave()


class Turns:
    """Plain ASGI. To be put inside `BodyLimit`, which reads the whole body first: a caller who
    sends slowly has no turn meanwhile.

    `at_once`: most requests at work. `patience`: seconds in line until 503. Requests for the paths
    `always` need no turn.
    """

    def __init__(
        self, app: ASGIApp, *, at_once: int, patience: float, always: Collection[str]
    ) -> None:
        self._app = app
        self._places = asyncio.Semaphore(at_once)
        self._patience = patience
        self._always = always

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._always:
            await self._app(scope, receive, send)
            return
        if not await self._is_granted():
            TURNED_AWAY.inc()
            refusal = unavailable("Too many requests came before this one; please try again")
            await problem_response(refusal.body, refusal.headers)(scope, receive, send)
            return
        turn = _Turn(self._places)
        token = _mine.set(turn)
        try:
            await self._app(scope, receive, send)
        finally:
            _mine.reset(token)
            turn.leave()

    async def _is_granted(self) -> bool:
        try:
            with IN_LINE.track_inprogress():
                async with asyncio.timeout(self._patience):
                    return await self._places.acquire()
        except TimeoutError:
            return False
