"""The mail server: the only module that imports aiosmtplib.

An answer is an outcome: `Sent`, `Again` (time mends it, or a person who corrects a setting) or
`Refused` (this mail will never be taken). Servers repeat the address in their answers, so none
passes on without `without_address`.
"""

import asyncio
import re
import time
from dataclasses import dataclass
from email.message import EmailMessage
from types import TracebackType
from typing import Final, Self

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from services.notification.settings import NotificationSettings

_IDLE_SECONDS: Final = 20.0
"""Servers close a connection that is idle for longer, some after half a minute."""
_LOGIN_OR_TLS_WANTED: Final = frozenset({530, 534, 535, 538})
_LONGEST_REASON: Final = 300
_HIDDEN: Final = "[address]"


class Sent:
    """The server has taken it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not taken now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Will not be taken, however often it is tried."""

    reason: str


Outcome = Sent | Again | Refused


class MailServer:
    """Connections to the server, kept for the next mail while they are fresh."""

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings
        self._idle: list[tuple[SMTP, float]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server, _ in self._idle:
            server.close()
        self._idle.clear()

    async def send(self, mail: EmailMessage) -> Outcome:
        """Hand over one mail with one recipient; never raises for what the server or the network
        does."""
        sender, address = (str(mail[name].addresses[0].addr_spec) for name in ("From", "To"))
        try:
            async with asyncio.timeout(self._settings.smtp_timeout_seconds):
                server = await self._connected()
        except (SMTPException, OSError) as error:
            return Again(f"cannot reach the mail server: {_said(error, address)}")
        try:
            async with asyncio.timeout(self._settings.smtp_timeout_seconds):
                # Not `send_message`, which writes headers by a policy of its own.
                await server.sendmail(sender, [address], mail.as_bytes())
        except (SMTPException, OSError) as error:
            server.close()
            reason = _said(error, address)
            return Refused(reason) if _is_final(error) else Again(reason)
        except BaseException:
            server.close()
            raise
        self._idle.append((server, time.monotonic()))
        return Sent()

    async def _connected(self) -> SMTP:
        while self._idle:
            server, since = self._idle.pop()
            if server.is_connected and time.monotonic() - since < _IDLE_SECONDS:
                return server
            server.close()
        settings = self._settings
        server = SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username or None,
            password=settings.smtp_password.get_secret_value() or None,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            timeout=settings.smtp_timeout_seconds,
        )
        await server.connect()
        return server


def _is_final(error: Exception) -> bool:
    """Whether the server refuses this mail, rather than now, or us."""
    if isinstance(error, SMTPRecipientsRefused):
        return all(_is_final(refused) for refused in error.recipients)
    if isinstance(error, SMTPSenderRefused):
        return False  # MAIL_FROM is wrong, and would be for every mail
    if isinstance(error, SMTPResponseException):
        return 500 <= error.code < 600 and error.code not in _LOGIN_OR_TLS_WANTED
    # Left are lost connections, and what this server cannot do at all.
    return not isinstance(error, OSError)


def _said(error: Exception, address: str) -> str:
    if isinstance(error, SMTPRecipientsRefused):
        return "; ".join(_said(refused, address) for refused in error.recipients)
    if isinstance(error, SMTPResponseException):
        return without_address(f"{error.code} {error.message}", address)
    return without_address(f"{type(error).__name__}: {error}", address)


def without_address(text: str, address: str) -> str:
    """The text in one line, without any address, and without this one's name before the @."""
    text = re.sub(r"[^\s<>]+@[^\s<>]+", _HIDDEN, text)
    if name := address.partition("@")[0]:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", _HIDDEN, text, flags=re.IGNORECASE)
    return " ".join(text.split())[:_LONGEST_REASON]
