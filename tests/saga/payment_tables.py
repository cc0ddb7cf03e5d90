"""The payment service's tables in memory (see `tables`), and its queue of calls to Stripe."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from services.payment.call_queue import Deferral
from services.payment.model import (
    ENDS,
    Call,
    CallKind,
    NewCall,
    Payment,
    Refund,
    Result,
    Status,
)
from services.payment.store import DecidedEvent


@dataclass
class PaymentTables:
    payments: dict[UUID, Payment] = field(default_factory=dict)
    refunds: dict[UUID, Refund] = field(default_factory=dict)
    events: dict[str, Result] = field(default_factory=dict)

    async def insert_payments(self, payments: Iterable[Payment]) -> set[UUID]:
        new = {p.order_id: replace(p) for p in payments if p.order_id not in self.payments}
        self.payments |= new
        return set(new)

    async def lock_payments(
        self, order_ids: Collection[UUID], intent_ids: Collection[str] = ()
    ) -> list[Payment]:
        return [
            replace(payment, refunds={})
            for payment in self.payments.values()
            if payment.order_id in order_ids or payment.payment_intent_id in intent_ids
        ]

    async def update_payments(self, payments: Iterable[Payment]) -> None:
        for payment in payments:
            before = self.payments[payment.order_id]
            assert before.status in (payment.status, *set(Status) - ENDS), "I8: an end was left"
            assert before.payment_intent_id in (None, payment.payment_intent_id)
            assert before.amount_received <= payment.amount_received <= payment.amount
            assert 0 <= payment.amount_refunded <= payment.amount_received
            self.payments[payment.order_id] = replace(payment, refunds={})

    async def refunds_of(self, order_ids: Collection[UUID]) -> list[Refund]:
        return [refund for refund in self.refunds.values() if refund.order_id in order_ids]

    async def save_refunds(self, refunds: Iterable[Refund]) -> None:
        self.refunds |= {refund.refund_id: refund for refund in refunds}

    async def decided_events(self, event_ids: Collection[str]) -> set[str]:
        return self.events.keys() & set(event_ids)

    async def save_events(self, decided: Sequence[DecidedEvent], _now: datetime) -> None:
        self.events |= {item.event.event_id: item.outcome for item in decided}


@dataclass
class QueuedCall:
    new: NewCall
    created_at: datetime
    key_made_at: datetime
    next_attempt_at: datetime
    generation: int = 1
    look_first: bool = False
    spent_at: datetime | None = None
    attempts: int = 0
    tries: int = 0
    lease: UUID | None = None


@dataclass
class PaymentDatabase(PaymentTables):
    """The queue of Stripe calls, beside the payments, with the database's clock."""

    now: datetime = field(kw_only=True)
    calls: dict[UUID, QueuedCall] = field(default_factory=dict)

    async def queue_calls(self, calls: Sequence[NewCall]) -> None:
        for call in calls:
            assert call.order_id not in self.calls, "one call per order at a time"
            self.calls[call.order_id] = QueuedCall(call, self.now, self.now, self.now)

    async def withdraw_unstarted(self, order_ids: Collection[UUID]) -> set[UUID]:
        withdrawn = {
            id_
            for id_, call in self.calls.items()
            if id_ in order_ids and call.new.kind is CallKind.CREATE_INTENT and not call.attempts
        }
        for id_ in withdrawn:
            del self.calls[id_]
        return withdrawn

    async def claim_calls(self, limit: int, lease: timedelta) -> list[Call]:
        due = sorted((call.next_attempt_at, id_) for id_, call in self.calls.items())
        claimed = []
        for call in [self.calls[id_] for at, id_ in due if at <= self.now][:limit]:
            call.attempts += 1
            call.tries += 1
            call.next_attempt_at = self.now + lease
            call.lease = token = uuid4()
            claimed.append(self._claimed(call, token))
        return claimed

    def _claimed(self, call: QueuedCall, token: UUID) -> Call:
        new = call.new
        repeated = f":{call.generation}" if call.generation > 1 else ""
        return Call(
            order_id=new.order_id,
            kind=new.kind,
            parameters=new.parameters,
            key=new.idempotency_key + repeated,
            generation=call.generation,
            look_first=call.look_first,
            spent_for=(self.now - (call.spent_at or self.now)).total_seconds(),
            attempts=call.attempts,
            tries=call.tries,
            key_age=(self.now - call.key_made_at).total_seconds(),
            created_at=call.created_at,
            traceparent=new.traceparent,
            payment_intent_id=self.payments[new.order_id].payment_intent_id,
            lease_token=token,
        )

    async def finish_calls(self, calls: Sequence[Call]) -> set[UUID]:
        ours = {call.order_id for call in calls if self._is_ours(call)}
        for id_ in ours:
            del self.calls[id_]
        return ours

    async def defer_calls(self, deferrals: Sequence[Deferral]) -> None:
        for again in deferrals:
            if self._is_ours(again.call):
                row = self.calls[again.call.order_id]
                row.next_attempt_at = self.now + timedelta(seconds=again.pause)
                if again.look_first and not row.look_first:
                    row.spent_at = self.now
                row.look_first = again.look_first
                row.lease = None
                if again.fresh_key:
                    row.generation, row.tries, row.key_made_at = row.generation + 1, 0, self.now

    async def bring_forward(self, order_ids: Collection[UUID]) -> None:
        for row in (self.calls[id_] for id_ in order_ids if id_ in self.calls):
            if row.look_first and row.lease is None:
                row.next_attempt_at = min(row.next_attempt_at, self.now)

    def _is_ours(self, call: Call) -> bool:
        row = self.calls.get(call.order_id)
        return row is not None and row.lease == call.lease_token
