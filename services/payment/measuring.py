"""What stands in the payment service's database, for whoever is on call."""

from typing import Final

from prometheus_client import Gauge

from services.kit.work import Work
from services.payment import store, turns

DISPUTES: Final = Gauge("orderflow_disputes_open", "Payments that a customer's bank disputes")
WEBHOOK_GAP: Final = Gauge(
    "orderflow_webhook_gap_seconds", "Age of what Stripe's list of events was last compared up to"
)


async def measure(work: Work) -> None:
    DISPUTES.set(await store.count_disputed(work.db))
    WEBHOOK_GAP.set(await turns.seconds_behind(work.db, "events"))
