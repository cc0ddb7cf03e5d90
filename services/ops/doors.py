"""Two ports, two doors: the console behind one, everything else behind the other. Plain ASGI.

So a shop can publish the console and keep the API inside, or the other way round.
"""

from http import HTTPStatus

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.kit.problems import problem_body, problem_response


class Doors:
    """What is behind the other door is not there."""

    def __init__(self, app: ASGIApp, *, console_port: int) -> None:
        self._app = app
        self._console_port = console_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        # Of the socket; no header can name another.
        at_console = scope["server"][1] == self._console_port
        answer: ASGIApp
        if at_console and path == "/":
            answer = RedirectResponse("/console/", HTTPStatus.SEE_OTHER)
        elif at_console == (path == "/console" or path.startswith("/console/")):
            answer = self._app
        else:
            answer = problem_response(problem_body(404, "There is nothing at this address"))
        await answer(scope, receive, send)
