"""Wires the notification service: what happens to orders becomes mails to their customers."""

from datetime import timedelta
from pathlib import Path
from typing import Final

from prometheus_client import Gauge

from contracts.topics import CUSTOMER_CONTACTS, ORDER_EVENTS
from services.kit.parking import forget_payloads
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work
from services.notification import store
from services.notification.handlers import handlers
from services.notification.mailing import Mailing
from services.notification.settings import NotificationSettings

MAILS_NOW: Final = Gauge("orderflow_mails_now", "Mails that wait, or need a person", ["state"])

_MAILS_KEPT: Final = timedelta(days=90)
_FORGOTTEN_AT_ONCE: Final = 20_000
"""Rows per minute: more than come, and a delete of seconds however much has piled up."""


def build(settings: NotificationSettings) -> Service:
    """The notification service with everything that it runs."""
    mailing = Mailing(settings)
    news = timedelta(hours=settings.mail_news_hours)
    service = Service(
        name="notification",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=(CUSTOMER_CONTACTS, ORDER_EVENTS),
        handlers=handlers(news, mailing.wake),
    )
    service.background(name="send_mails")(mailing.run)

    @service.every(seconds=60, name="park_stale_mails")
    async def park_stale_mails(work: Work) -> None:
        if stale := await store.park_stale_mails(work.db, work.now - news):
            log.warning("mails are too old to be sent", count=stale)

    @service.every(seconds=10, name="measure_mails")
    async def measure_mails(work: Work) -> None:
        for state, count in (await store.count_mails(work.db)).items():
            MAILS_NOW.labels(state).set(count)

    @service.every(seconds=60, name="forget")
    async def forget(work: Work) -> None:
        long_enough = work.now - timedelta(days=settings.contact_retention_days)
        await store.forget_contacts(work.db, long_enough, _FORGOTTEN_AT_ONCE)
        await forget_payloads(work.db, CUSTOMER_CONTACTS.name, long_enough)
        await store.forget_mails(work.db, work.now - _MAILS_KEPT, _FORGOTTEN_AT_ONCE)

    return service
