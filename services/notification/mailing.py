"""The workers that send mails (`kit.calls`), and what becomes of each attempt.

At least once: a crash after the server took a mail and before that is noted sends it again, with
the same Message-ID.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final
from uuid import uuid4

from prometheus_client import Counter, Gauge

from services.kit import calls
from services.kit.crash import crash_point
from services.kit.db import Pool
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work
from services.notification import store
from services.notification.rendering import BadAddress, NoFacts, message
from services.notification.settings import NotificationSettings
from services.notification.smtp import Again, MailServer, Outcome, Refused, Sent, without_address
from services.notification.store import Change, QueuedMail

MAILS: Final = Counter("orderflow_mails_total", "Attempts to send a mail", ["kind", "outcome"])
IN_FLIGHT: Final = Gauge("orderflow_mails_in_flight", "Mails claimed and not yet recorded")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
_ATTEMPTS_TO_MENTION: Final = 5

Finished = calls.Finished[QueuedMail, Outcome]


class Mailing:
    """The workers of one process."""

    def __init__(self, settings: NotificationSettings) -> None:
        self._settings = settings
        # To connect and to send take a time-out each; the rest is for recording.
        lease = timedelta(seconds=2 * settings.smtp_timeout_seconds + 2)
        self._workers = calls.Workers[QueuedMail, Outcome](
            "the mail server",
            slots=settings.smtp_connections,
            claim=partial(_claim, lease=lease),
            record=_record,
            in_flight=IN_FLIGHT,
        )

    def wake(self) -> None:
        """There may be mails to send."""
        self._workers.wake()

    async def run(self, service: Service) -> None:
        """Work until cancelled; what is under way then gets a moment to finish."""
        async with MailServer(self._settings) as server:
            await self._workers.run(service, partial(self._send, server))

    async def _send(self, server: MailServer, mail: QueuedMail) -> Outcome:
        outcome: Outcome
        try:
            outcome = await server.send(message(mail, self._settings))
        except (BadAddress, NoFacts) as error:
            outcome = Refused(str(error))
        except Exception as error:
            # A fault of ours. No trace: what is raised while a mail is made may quote the address.
            outcome = Again(without_address(repr(error), mail.email))
            log.error("mail failed", order_id=str(mail.order_id), error=outcome.reason)
        if isinstance(outcome, Sent):
            crash_point("after-mail")
        MAILS.labels(mail.kind, type(outcome).__name__.lower()).inc()
        return outcome


async def _claim(pool: Pool, limit: int, *, lease: timedelta) -> list[QueuedMail]:
    return await store.claim_mails(pool, limit, lease, uuid4())


async def _record(work: Work, batch: Sequence[Finished]) -> list[float]:
    """Note all outcomes; returns the seconds after which mails are to be tried again."""
    changes = [_change(item.call, item.outcome) for item in batch]
    await store.save_attempts(work.db, changes)
    again = [change for change in changes if change.state == "queued"]
    if again and max(change.mail.attempts for change in again) >= _ATTEMPTS_TO_MENTION:
        log.warning("mails wait", mails=len(again), error=again[0].reason)
    parked = [change for change in changes if change.state == "parked"]
    if parked:
        log.warning(
            "mails parked",
            parked=[
                {"order_id": str(change.mail.order_id), "reason": change.reason}
                for change in parked[:5]
            ],
            count=len(parked),
        )
    return [change.pause for change in again]


def _change(mail: QueuedMail, outcome: Outcome) -> Change:
    if isinstance(outcome, Sent):
        return Change(mail, "sent")
    if isinstance(outcome, Refused):
        return Change(mail, "parked", reason=outcome.reason)
    chance = random.random()  # noqa: S311  # jitter
    pause = calls.backoff(_FIRST_PAUSE, _LONGEST_PAUSE, mail.attempts, chance)
    return Change(mail, "queued", pause, outcome.reason)
