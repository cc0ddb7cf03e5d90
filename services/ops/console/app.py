"""The console's application: its pages, its headers, and errors as pages."""

from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.kit.auth import Tokens
from services.kit.errors import INFRASTRUCTURE, is_infrastructure
from services.kit.problems import RETRY_AFTER_SECONDS, ApiProblem
from services.ops.console.pages import page
from services.ops.console.proxies import Proxies
from services.ops.console.routes import (
    audit,
    bulks,
    dead_letters,
    live,
    order,
    orders,
    overview,
    refunds,
    sagas,
    sign_in,
    stock,
)
from services.ops.console.session import SignInFirst, is_followed_link, visitor_of
from services.ops.ops import Ops

STATIC: Final = Path(__file__).parent / "static"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Nothing inline and nothing from elsewhere: markup that slipped in could run nothing."""
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # The addresses hold ids of orders and customers.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def install(app: FastAPI, ops: Ops, tokens: Tokens, proxies: Proxies) -> FastAPI:
    """Serve the console below /console of `app`; returns its application."""
    console = FastAPI(title="orderflow console", openapi_url=None, redirect_slashes=False)
    console.state.ops = ops
    console.state.tokens = tokens
    console.state.proxies = proxies
    for rooms in (sign_in, overview, orders, order, live, bulks, stock, dead_letters, sagas, audit):
        console.include_router(rooms.router)
    console.include_router(refunds.router)
    console.mount("/static", StaticFiles(directory=STATIC))
    console.add_exception_handler(SignInFirst, _sign_in_first)
    for kind in (ApiProblem, HTTPException, RequestValidationError, *INFRASTRUCTURE, Exception):
        console.add_exception_handler(kind, _error)
    console.add_middleware(PageHeaders)
    app.mount("/console", console)
    # Without the slash, as people type it.
    app.add_api_route("/console", _front_door, include_in_schema=False)
    return console


class PageHeaders:
    """What keeps a browser from doing harm to a page, or to who looks at it. Plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_file = scope["path"].startswith("/console/static/")
        keep = "no-cache" if is_file else "no-store"

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (_HEADERS | {"Cache-Control": keep}).items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_safely)


async def _front_door() -> RedirectResponse:
    return RedirectResponse("/console/", 303)


async def _sign_in_first(request: Request, error: Exception) -> Response:
    if request.method == "GET" and is_followed_link(request):
        return page(request, None, "once_more.html")
    query = {"why": "expired"} if str(error) else {}
    if request.method == "GET" and not request.headers.get("HX-Request"):
        query["next"] = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    address = f"/console/sign-in?{urlencode(query)}" if query else "/console/sign-in"
    if request.headers.get("HX-Request"):
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, 303)


async def _error(request: Request, error: Exception) -> Response:
    status, detail, headers = _explain(error)
    try:
        visitor = await visitor_of(request)
    except (SignInFirst, ApiProblem):
        visitor = None
    return page(
        request,
        visitor,
        "error.html",
        status=status,
        headers=headers,
        code=status,
        title=HTTPStatus(status).phrase,
        detail=detail,
    )


def _explain(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, ApiProblem):
        return error.status, str(error), error.headers
    if isinstance(error, RequestValidationError):
        return 404, "There is nothing at this address", {}
    if isinstance(error, HTTPException):
        return error.status_code, str(error.detail), dict(error.headers or {})
    if is_infrastructure(error):
        away = "The database or the broker does not answer right now. Try again in a moment"
        return 503, away, {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return 500, "Something went wrong on our side; the service's log says what", {}
