"""A provider inside the process, for benchmarks: every payment succeeds at once.

It keeps nothing: an intent's id says all there is to know about it.
"""

from datetime import datetime
from uuid import UUID

from services.payment.provider import Intent, MadeRefund, StripeUnexpectedState


class InstantProvider:
    async def create_intent(self, order_id: UUID, amount: int, currency: str, key: str) -> Intent:
        return _intent(f"pi_instant_{amount}_{currency}_{order_id.hex}")

    async def cancel_intent(self, intent_id: str, key: str) -> Intent:
        raise StripeUnexpectedState(_intent(intent_id))

    async def retrieve_intent(self, intent_id: str) -> Intent:
        return _intent(intent_id)

    async def find_intent(self, order_id: UUID, since: datetime, spent_for: float) -> Intent | None:
        return None

    async def create_refund(
        self, intent_id: str, amount: int, order_id: UUID, refund_id: UUID, key: str
    ) -> MadeRefund:
        return MadeRefund(f"re_instant_{refund_id.hex}", "succeeded", amount)

    async def find_refund(self, intent_id: str, refund_id: UUID) -> MadeRefund | None:
        return None


def _intent(intent_id: str) -> Intent:
    _, _, amount, currency, _ = intent_id.split("_")
    return Intent(
        id=intent_id,
        status="succeeded",
        amount=int(amount),
        currency=currency,
        amount_received=int(amount),
        client_secret=f"{intent_id}_secret",
    )
