"""What stands in the payment service's database, for whoever is on call.

Every replica tells the same: take the greatest of them, not the sum.
"""

from typing import Final

from prometheus_client import Gauge

from services.kit.work import Work
from services.payment import call_queue, store, turns

DISPUTES: Final = Gauge("orderflow_disputes_open", "Payments that a customer's bank disputes")
WEBHOOK_GAP: Final = Gauge(
    "orderflow_webhook_gap_seconds", "Age of what Stripe's list of events was last compared up to"
)
WEBHOOK_SILENCE: Final = Gauge(
    "orderflow_webhook_silence_seconds", "Time without a webhook while customers could pay"
)
CALLS_WAITING: Final = Gauge(
    "orderflow_stripe_calls_waiting", "Calls to Stripe that are decided and not finished", ["kind"]
)
OLDEST_CALL: Final = Gauge(
    "orderflow_stripe_calls_oldest_seconds",
    "Age of the oldest call to Stripe that is not finished",
    ["kind"],
)


async def measure(work: Work) -> None:
    DISPUTES.set(await store.count_disputed(work.db))
    WEBHOOK_GAP.set(await turns.seconds_behind(work.db, "events"))
    WEBHOOK_SILENCE.set(await turns.seconds_of_silence(work.db))
    for kind, queue in (await call_queue.measure_queue(work.db)).items():
        CALLS_WAITING.labels(kind).set(queue.waiting)
        OLDEST_CALL.labels(kind).set(queue.oldest)
