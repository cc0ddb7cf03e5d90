"""The payments of one transaction: locked together, changed one by one, saved together.

Whatever changes a payment, a command, a webhook or an answer of Stripe, goes through here, so each
change gets its version and its audit record, and the call that it makes necessary is queued.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from contracts.audit import PaymentAudited
from contracts.message import Message
from services.kit import trace
from services.kit.messages import Incoming
from services.kit.work import Work
from services.payment import call_queue, store
from services.payment.model import NewCall, Payment, Refund, Verdict
from services.payment.rules import next_call

_ANSWERED_WITHIN: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Cause:
    """What changes a payment: for the audit record, the causation id and the trace."""

    action: str
    changed_by: str
    traceparent: str | None
    incoming: Incoming[Any] | None = None

    @classmethod
    def command(cls, incoming: Incoming[Any]) -> "Cause":
        envelope = incoming.envelope
        return cls(envelope.type, envelope.source, envelope.traceparent, incoming)


class Changes:
    """Payments that this transaction has locked or inserted."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._payments: dict[UUID, Payment] = {}
        self._before: dict[UUID, Payment] = {}
        self._by_intent: dict[str, Payment] = {}
        self._calls: list[NewCall] = []

    async def lock(self, order_ids: Collection[UUID], intent_ids: Collection[str] = ()) -> None:
        """Lock the payments of these orders and intents, where they exist."""
        if not order_ids and not intent_ids:
            return
        payments = await store.lock_payments(self._work.db, order_ids, intent_ids)
        with_money = {
            payment.order_id: payment for payment in payments if payment.amount_received > 0
        }
        if with_money:  # only these can have refunds
            for refund in await store.refunds_of(self._work.db, with_money):
                with_money[refund.order_id].refunds[refund.refund_id] = refund
        for payment in payments:
            self._payments[payment.order_id] = payment
            self._before[payment.order_id] = replace(payment, refunds=dict(payment.refunds))
            if payment.payment_intent_id is not None:
                self._by_intent[payment.payment_intent_id] = payment

    async def insert(self, new: Sequence[tuple[Payment, Cause]]) -> set[UUID]:
        """Insert the payments that do not exist yet, with the calls that they need; say which."""
        calls = [next_call(payment) for payment, _ in new]
        inserted = await store.insert_payments(self._work.db, [payment for payment, _ in new])
        for (payment, cause), call in zip(new, calls, strict=True):
            if payment.order_id in inserted:
                if call is not None:
                    self._calls.append(replace(call, traceparent=cause.traceparent))
                self._audit(payment, cause, old_status=None)
        return inserted

    def find(self, order_id: UUID | None, intent_id: str | None) -> Payment | None:
        """By the order where it is known, otherwise by the intent."""
        payment = self._payments.get(order_id) if order_id is not None else None
        if payment is None and intent_id is not None:
            return self._by_intent.get(intent_id)
        return payment

    def __getitem__(self, order_id: UUID) -> Payment:
        return self._payments[order_id]

    def apply(self, payment: Payment, cause: Cause, rule: Callable[[Payment], Verdict]) -> Verdict:
        """Let a rule change the payment, and send what it says."""
        old_status, before = payment.status, payment.audited()
        verdict = rule(payment)
        call = next_call(payment)
        if call is not None:
            self._calls.append(replace(call, traceparent=cause.traceparent))
        if payment.audited() != before:
            payment.version += 1
            self._audit(payment, cause, old_status, verdict.reason)
        if verdict.messages:
            with trace.use(cause.traceparent):
                for message in verdict.messages:
                    self._work.send(_as_of(payment, message), cause.incoming)
        return verdict

    async def save(self) -> bool:
        """Write what has changed; True if there are calls to make."""
        db = self._work.db
        adopted: list[UUID] = []
        changed: list[Payment] = []
        refunds: list[Refund] = []
        for order_id, payment in self._payments.items():
            before = self._before[order_id]
            if payment != before:
                payment.updated_at = self._work.now
                changed.append(payment)
                if self._adopted(before, payment):
                    adopted.append(order_id)
                refunds += [
                    replace(refund, updated_at=self._work.now)
                    for refund in payment.refunds.values()
                    if before.refunds.get(refund.refund_id) != refund
                ]
        if changed:
            await store.update_payments(db, changed)
        if refunds:
            await store.save_refunds(db, refunds)
        if self._calls:
            await call_queue.queue_calls(db, self._calls)
        if adopted:
            await call_queue.bring_forward(db, adopted)
        return bool(self._calls or adopted)

    def _adopted(self, before: Payment, after: Payment) -> bool:
        """Whether an event told of the intent that a call of ours is still looking for. Most
        events come while the call's answer is being recorded: those calls are young."""
        told = before.payment_intent_id is None and after.payment_intent_id is not None
        return told and after.calling and self._work.now - after.created_at > _ANSWERED_WITHIN

    def _audit(
        self, payment: Payment, cause: Cause, old_status: str | None, reason: str | None = None
    ) -> None:
        record = PaymentAudited(
            order_id=payment.order_id,
            version=payment.version,
            action=cause.action,
            old_status=old_status,
            new_status=payment.status,
            payment_intent_id=payment.payment_intent_id,
            amount=payment.amount,
            currency=payment.currency,
            amount_received=payment.amount_received,
            amount_refunded=payment.amount_refunded,
            amount_lost=payment.lost,
            changed_by=cause.changed_by,
            reason=reason,
            disputed=payment.disputed,
            at=self._work.now,
        )
        with trace.use(cause.traceparent):
            self._work.send(record, cause.incoming)


def _as_of(payment: Payment, message: Message) -> Message:
    """The message with the version that the payment has after the change: a rule cannot know it,
    since only a change makes a version."""
    if "payment_version" in type(message).model_fields:
        return message.model_copy(update={"payment_version": payment.version})
    return message
