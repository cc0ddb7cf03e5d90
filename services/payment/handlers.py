"""Commands of the order service and webhooks of Stripe: lock, decide, save, send.

Each command is answered every time it is asked. Where the answer needs Stripe, it is sent when the
call's outcome is recorded (`charging`).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

from prometheus_client import Counter

from contracts.message import Message
from contracts.payment import CancelPayment, CheckPayment, RefundPayment, RequestPayment
from contracts.stripe import StripeEventReceived
from services.kit.messages import Incoming
from services.kit.work import Handler, Work
from services.payment import call_queue, event_rules, refund_rules, replies, rules, store
from services.payment.changes import Cause, Changes
from services.payment.model import Payment, Result, Status, Terms, Verdict
from services.payment.reconciling import FOUND, SOURCE

EVENTS: Final = Counter(
    "orderflow_stripe_events_total",
    "Events of Stripe, webhooks and others, by what became of them (ignored: of no interest)",
    ["outcome"],
)


class PaymentHandlers:
    """`wake` is called after a commit that queued calls, so that they are made at once."""

    def __init__(self, terms: Terms, wake: Callable[[], None]) -> None:
        self._terms = terms
        self._wake = wake

    async def request(self, work: Work, batch: list[Incoming[RequestPayment]]) -> None:
        changes = Changes(work)
        inserted = await changes.insert(
            [(_requested(incoming.message, work), Cause.command(incoming)) for incoming in batch]
        )
        repeated = [item for item in batch if item.message.order_id not in inserted]
        await changes.lock(_orders(repeated))
        for incoming in repeated:
            payment, asked = changes[incoming.message.order_id], incoming.message
            terms = (asked.customer_id, asked.amount, asked.currency)
            if payment.customer_id is not None and terms != (
                payment.customer_id,
                payment.amount,
                payment.currency,
            ):
                work.park(incoming, "asked again for another amount, currency or customer")
                continue
            changes.apply(payment, Cause.command(incoming), _where_it_stands)
        await self._save(work, changes)

    async def cancel(self, work: Work, batch: list[Incoming[CancelPayment]]) -> None:
        changes = Changes(work)
        inserted = await self._insert_tombstones(work, changes, batch)
        known = [item for item in batch if item.message.order_id not in inserted]
        await changes.lock(_orders(batch))
        creating = [
            order_id for order_id in _orders(known) if changes[order_id].status is Status.CREATING
        ]
        withdrawn = await call_queue.withdraw_unstarted(work.db, creating) if creating else set()

        def rule(payment: Payment) -> Verdict:
            return rules.cancel(payment, never_started=payment.order_id in withdrawn)

        for incoming in batch:
            changes.apply(changes[incoming.message.order_id], Cause.command(incoming), rule)
        await self._save(work, changes)

    async def refund(self, work: Work, batch: list[Incoming[RefundPayment]]) -> None:
        changes = Changes(work)
        await self._insert_tombstones(work, changes, batch)
        await changes.lock(_orders(batch))
        for incoming in batch:
            command: RefundPayment = incoming.message

            def rule(payment: Payment, command: RefundPayment = command) -> Verdict:
                return refund_rules.refund(payment, command, work.now)

            changes.apply(changes[command.order_id], Cause.command(incoming), rule)
        await self._save(work, changes)

    async def check(self, work: Work, batch: list[Incoming[CheckPayment]]) -> None:
        changes = Changes(work)
        await changes.lock(_orders(batch))
        for incoming in batch:
            if payment := changes.find(incoming.message.order_id, None):
                changes.apply(payment, Cause.command(incoming), rules.check_now)
        await self._save(work, changes)

    async def stripe_event(self, work: Work, batch: list[Incoming[StripeEventReceived]]) -> None:
        decided_before = await store.decided_events(
            work.db, [incoming.message.event_id for incoming in batch]
        )
        fresh = [item for item in batch if item.message.event_id not in decided_before]
        heeded = [item.message for item in fresh if event_rules.heeds(item.message)]
        changes = Changes(work)
        await changes.lock(
            {order_id for news in heeded if (order_id := event_rules.order_of(news))},
            {intent for news in heeded if (intent := news.object.intent_id)},
        )
        decided = []
        for incoming in fresh:
            event: StripeEventReceived = incoming.message
            order_id = event_rules.order_of(event)
            payment = changes.find(order_id, event.object.intent_id)
            verdict = self._apply_event(changes, payment, incoming)
            if verdict.outcome is Result.PARKED:
                work.park(incoming, verdict.reason or "")
            decided.append(
                store.DecidedEvent(
                    event,
                    payment.order_id if payment else order_id,
                    verdict.outcome,
                    verdict.reason,
                    found=incoming.envelope.source == SOURCE,
                )
            )
        if decided:
            await store.save_events(work.db, decided, work.now)
            work.after_commit(partial(FOUND.inc, sum(item.found for item in decided)))
            work.after_commit(partial(_count, [item.outcome for item in decided]))
        await self._save(work, changes)

    def _apply_event(
        self, changes: Changes, payment: Payment | None, incoming: Incoming[StripeEventReceived]
    ) -> Verdict:
        event = incoming.message
        if payment is None:
            return event_rules.decide(None, event, self._terms)
        cause = Cause(
            event.event_type, f"stripe:{event.event_id}", incoming.envelope.traceparent, incoming
        )
        return changes.apply(
            payment, cause, lambda known: event_rules.decide(known, event, self._terms)
        )

    async def _insert_tombstones(
        self,
        work: Work,
        changes: Changes,
        batch: Sequence[Incoming[CancelPayment] | Incoming[RefundPayment]],
    ) -> set[UUID]:
        """The undo of something never done: so that the do that may come later is refused."""
        return await changes.insert(
            [
                (Payment.tombstone(incoming.message.order_id, work.now), Cause.command(incoming))
                for incoming in batch
            ]
        )

    async def _save(self, work: Work, changes: Changes) -> None:
        if await changes.save():
            work.after_commit(self._wake)


def _requested(command: RequestPayment, work: Work) -> Payment:
    return Payment.requested(
        command.order_id, command.customer_id, command.amount, command.currency, work.now
    )


def _count(outcomes: Sequence[Result]) -> None:
    for outcome in outcomes:
        EVENTS.labels(outcome).inc()


def _orders(batch: Sequence[Incoming[Any]]) -> list[UUID]:
    return [incoming.message.order_id for incoming in batch]


def _where_it_stands(payment: Payment) -> Verdict:
    return Verdict(Result.APPLIED, replies.standing(payment))


def handlers(terms: Terms, wake: Callable[[], None]) -> dict[type[Message], Handler]:
    """What the payment service listens to."""
    payment = PaymentHandlers(terms, wake)
    return {
        RequestPayment: payment.request,
        CancelPayment: payment.cancel,
        RefundPayment: payment.refund,
        CheckPayment: payment.check,
        StripeEventReceived: payment.stripe_event,
    }
