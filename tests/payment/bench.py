"""Drives the payment service without Kafka: messages in, messages out, calls one by one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from contracts.audit import PaymentAudited
from contracts.message import REGISTRY, Envelope, Message, new_message_id
from contracts.payment import CancelPayment, RefundPayment, RequestPayment
from contracts.stripe import StripeEventReceived
from services.kit.db import Pool
from services.kit.messages import Incoming, Outgoing, Record
from services.kit.work import Work
from services.payment import call_queue
from services.payment.calling import make
from services.payment.charging import LEASE, Finished, record
from services.payment.fair_share import FairShare
from services.payment.handlers import handlers
from services.payment.instant import InstantProvider
from services.payment.model import Call, Terms
from services.payment.provider import Intent, Provider

AMOUNT = 12_000
DAY = 86_400.0


def request(order_id: UUID, amount: int = AMOUNT) -> RequestPayment:
    return RequestPayment(order_id=order_id, customer_id="anna", amount=amount, currency="zar")


def cancel(order_id: UUID) -> CancelPayment:
    return CancelPayment(order_id=order_id, reason="expired")


def refund(
    order_id: UUID, refund_id: UUID | None = None, amount: int | None = None
) -> RefundPayment:
    return RefundPayment(
        order_id=order_id, refund_id=refund_id or uuid4(), amount=amount, reason="returned"
    )


def event(
    type_: str, object_: dict[str, Any], *, livemode: bool = False, event_id: str | None = None
) -> StripeEventReceived:
    """A webhook as the gateway hands it on."""
    return StripeEventReceived.from_event(
        {
            "id": event_id or f"evt_{uuid4().hex}",
            "type": type_,
            "created": int(datetime.now(UTC).timestamp()),
            "livemode": livemode,
            "api_version": "2026-10-28.endive",
            "data": {"object": object_},
        }
    )


def intent_event(
    type_: str,
    intent_id: str,
    order_id: UUID | None,
    *,
    amount: int = AMOUNT,
    received: int | None = None,
    currency: str = "zar",
    error: dict[str, str] | None = None,
    livemode: bool = False,
) -> StripeEventReceived:
    done = type_ == "succeeded"
    return event(
        f"payment_intent.{type_}",
        {
            "id": intent_id,
            "object": "payment_intent",
            "amount": amount,
            "amount_received": received if received is not None else (amount if done else 0),
            "currency": currency,
            "last_payment_error": error,
            "metadata": {"order_id": str(order_id)} if order_id else {},
        },
        livemode=livemode,
    )


def charge_refunded(intent_id: str, total: int) -> StripeEventReceived:
    """The charge carries no metadata: it is found by its intent."""
    return event(
        "charge.refunded",
        {
            "id": f"ch_{intent_id}",
            "object": "charge",
            "amount": AMOUNT,
            "amount_refunded": total,
            "payment_intent": intent_id,
        },
    )


def dispute_event(
    what: str, status: str | None, intent_id: str, dispute_id: str = "du_1"
) -> StripeEventReceived:
    """A dispute carries no metadata either."""
    return event(
        f"charge.dispute.{what}",
        {
            "id": dispute_id,
            "object": "dispute",
            "amount": AMOUNT,
            "charge": f"ch_{intent_id}",
            "payment_intent": intent_id,
            "reason": "fraudulent",
            "status": status,
        },
    )


def incoming(message: Message, source: str = "order") -> Incoming[Any]:
    envelope = Envelope(
        id=new_message_id(),
        type=message.wire_type,
        source=source,
        time=datetime.now(UTC).isoformat(),
        subject=message.key,
        correlation_id=message.key,
    )
    record = Record(message.topic.name, 0, 0, message.key, (), b"")
    return Incoming(message, envelope, record)


def decoded(outgoing: Sequence[Outgoing]) -> list[Message]:
    return [
        REGISTRY[dict(item.kafka_headers())["ce_type"].decode()].model_validate_json(item.payload)
        for item in outgoing
    ]


class Unpaid(InstantProvider):
    """Intents that wait for their customer."""

    async def create_intent(self, order_id: UUID, amount: int, currency: str, key: str) -> Intent:
        made = await super().create_intent(order_id, amount, currency, key)
        return replace(made, status="requires_payment_method", amount_received=0)

    async def cancel_intent(self, intent_id: str, key: str) -> Intent:
        return replace(await self.retrieve_intent(intent_id), status="canceled", amount_received=0)


class Bench:
    """One replica of the payment service. Collects the audit records and what is parked."""

    def __init__(self, pool: Pool, terms: Terms | None = None) -> None:
        self.pool = pool
        self.terms = terms or Terms()
        self.woken = 0
        self.on_wake: Callable[[], None] = lambda: None
        self.audit: list[PaymentAudited] = []
        self.parked: list[str] = []
        self.handlers = handlers(self.terms, self.wake)

    def wake(self) -> None:
        self.woken += 1
        self.on_wake()

    @asynccontextmanager
    async def transaction(self, publish: Literal["now", "later"] = "now") -> AsyncIterator[Work]:
        async with self.pool.acquire() as db, db.transaction():
            work = Work(db, "payment")
            yield work
        for call in work.callbacks:
            call()

    def _said(self, work: Work) -> list[Message]:
        messages = decoded(work.outgoing)
        self.audit += [message for message in messages if isinstance(message, PaymentAudited)]
        self.parked += [entry.reason for entry in work.to_park]
        return [message for message in messages if not isinstance(message, PaymentAudited)]

    async def hear(self, *messages: Message, source: str = "order") -> list[Message]:
        """Handle messages of one type as one batch; what the service says to them."""
        batch = [incoming(item, source) for item in messages]
        async with self.transaction() as work:
            await self.handlers[type(messages[0])](work, batch)
        return self._said(work)

    async def claim(self, limit: int = 100, lease: timedelta = LEASE) -> list[Call]:
        return await call_queue.claim_calls(self.pool, limit, lease, FairShare(1_000).shares())

    async def record(self, *finished: Finished) -> list[Message]:
        async with self.transaction() as work:
            await record(work, finished, self.terms)
        return self._said(work)

    async def call(self, provider: Provider, *, key_lifetime: float = DAY) -> list[Message]:
        """Make every call that is in the queue, once, due or not; what the service says."""
        await self.fetch("UPDATE stripe_calls SET next_attempt_at = now()")
        calls = await self.claim()
        return await self.record(
            *[Finished(call, await make(provider, call, key_lifetime)) for call in calls]
        )

    async def call_until_done(
        self, provider: Provider, *, key_lifetime: float = DAY
    ) -> list[Message]:
        said: list[Message] = []
        for _ in range(20):
            if not await self.fetch("SELECT FROM stripe_calls"):
                return said
            said += await self.call(provider, key_lifetime=key_lifetime)
        raise AssertionError("the queue does not get empty")

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await self.pool.fetch(query, *arguments)

    async def payment(self, order_id: UUID) -> Any:
        (row,) = await self.fetch("SELECT * FROM payments WHERE order_id = $1", order_id)
        return row

    async def outcome(self, event: StripeEventReceived) -> str:
        (row,) = await self.fetch(
            "SELECT outcome FROM stripe_events WHERE event_id = $1", event.event_id
        )
        return str(row["outcome"])
