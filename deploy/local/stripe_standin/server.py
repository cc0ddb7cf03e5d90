"""The web server: the API below /v1, the control interface below /_control, and health."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deploy.local.stripe_standin import api, control
from deploy.local.stripe_standin.session import Session
from deploy.local.stripe_standin.settings import Settings
from deploy.local.stripe_standin.standin import Standin

log = logging.getLogger(__name__)


class _BreakableProtocol(HttpToolsProtocol):
    """Lets the API break a connection: ASGI has no other way to answer nothing."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope.update({api.BREAK_CONNECTION: self.transport.abort})  # type: ignore[misc]


def application(settings: Settings) -> Starlette:
    """The stand-in as an ASGI application. Must be made within a running event loop."""
    standin = Standin(settings)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with standin.running():
            log.info(
                "Stripe stand-in on http://%s:%s, objects in %s",
                settings.http_host,
                settings.http_port,
                settings.standin_database,
            )
            yield

    async def health(_: Request) -> Response:
        def probe(session: Session) -> None:
            session.db.execute("SELECT 1")

        await standin.run(probe)
        return JSONResponse({"status": "ok"})

    # Stripe.js calls from the shop's own origin, so a browser must be allowed to.
    cors = Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    return Starlette(
        routes=[
            Mount("/v1", routes=api.routes(standin), middleware=[cors]),
            Mount("/_control", routes=control.routes(standin)),
            Route("/healthz", health),
            Route("/readyz", health),
        ],
        lifespan=lifespan,
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        application(settings),
        host=settings.http_host,
        port=settings.http_port,
        http=_BreakableProtocol,
        log_level="warning",
        log_config=None,
        access_log=False,
        # Longer than clients keep idle connections, so that they close first, never in a race.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=5,
    )
    await uvicorn.Server(config).serve()
