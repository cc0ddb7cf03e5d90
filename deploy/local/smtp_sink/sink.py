"""Takes mails by SMTP, shows them by HTTP."""

import asyncio
import email
import email.policy
from collections import deque
from email.message import EmailMessage
from html import escape
from itertools import count, islice
from typing import Any, Final, NamedTuple

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from pydantic_settings import BaseSettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

REFUSED: Final = "refused"
HANGING: Final = "hanging"
"""How addresses begin that are refused, and those of which the server says nothing at all."""
_KEPT: Final = 10_000
_SHOWN: Final = 200


class Settings(BaseSettings):
    """Where it listens: loopback unless said otherwise."""

    http_host: str = "127.0.0.1"
    http_port: int = 8025
    smtp_port: int = 1025


class Received(NamedTuple):
    """A mail as it came. It is read when somebody looks: benchmarks send thousands."""

    id: int
    recipients: list[str]
    content: bytes

    def shown(self) -> dict[str, Any]:
        """The parts that people and tests look at."""
        message = email.message_from_bytes(self.content, policy=email.policy.default)
        return {
            "id": self.id,
            "to": self.recipients,
            "subject": str(message["Subject"]),
            "message_id": str(message["Message-ID"]),
            "text": _part(message, "plain"),
            "html": _part(message, "html"),
        }


def _part(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return "" if body is None else str(body.get_content())


class Sink:
    """The newest mails that were received."""

    def __init__(self) -> None:
        self.mails: deque[Received] = deque(maxlen=_KEPT)
        self._ids = count(1)

    # -- called by aiosmtpd, which names them --------------------------------------------------

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address.startswith(REFUSED):
            return f"550 5.1.1 <{address}>: no such user here"
        if address.startswith(HANGING):
            await asyncio.Event().wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.original_content or b""
        self.mails.appendleft(Received(next(self._ids), list(envelope.rcpt_tos), content))
        return "250 OK"


def application(sink: Sink) -> Starlette:
    """The web pages."""

    async def page(_: Request) -> Response:
        newest = [received.shown() for received in islice(sink.mails, _SHOWN)]
        rows = "".join(
            f"<tr><td>{mail['id']}<td>{escape(', '.join(mail['to']))}"
            f'<td><a href="/mails/{mail["id"]}">{escape(mail["subject"])}</a>'
            for mail in newest
        )
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><title>Mails</title>"
            "<style>body{font:16px sans-serif;margin:2em}td,th{padding:.3em 1em;text-align:left}"
            "</style><h1>Mails to customers</h1>"
            f"<p>{len(sink.mails)} received, newest first.</p>"
            f"<table><tr><th>#<th>to<th>subject{rows}</table>"
        )

    async def mails(request: Request) -> Response:
        about = request.query_params.get("about", "").encode()
        found = [received.shown() for received in sink.mails if about in received.content]
        return JSONResponse(found)

    async def forget(_: Request) -> Response:
        sink.mails.clear()
        return Response(status_code=204)

    async def mail(request: Request) -> Response:
        wanted = request.path_params["id"]
        found = next((received for received in sink.mails if received.id == wanted), None)
        if found is None:
            return PlainTextResponse("there is no such mail", status_code=404)
        # What a mail holds may do nothing here.
        headers = {"Content-Security-Policy": "sandbox"}
        return HTMLResponse(found.shown()["html"], headers=headers)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/mails", mails),
            Route("/mails", forget, methods=["DELETE"]),
            Route("/mails/{id:int}", mail),
            Route("/healthz", health),
        ]
    )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    sink = Sink()
    listening = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname="sink.example.com", enable_SMTPUTF8=True),
        settings.http_host,
        settings.smtp_port,
    )
    config = uvicorn.Config(
        application(sink),
        host=settings.http_host,
        port=settings.http_port,
        log_level="warning",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    try:
        await uvicorn.Server(config).serve()
    finally:
        # Not waited for: clients may keep their connections for as long as they like.
        listening.close()
