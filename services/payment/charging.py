"""The workers that call Stripe (`kit.calls`), and what the outcomes change.

A repeated call carries the same idempotency key; what a worker brings after its lease has ended is
turned away by the lease's token. `fair_share` decides which calls are made next, `circuit` whether
any is.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from services.kit import calls
from services.kit.crash import crash_point
from services.kit.db import Pool
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work
from services.payment import call_queue
from services.payment.calling import NotThere, Outcome, deferral, make
from services.payment.changes import Cause, Changes
from services.payment.circuit import Circuit
from services.payment.fair_share import FairShare
from services.payment.model import Call, Payment, Result, Terms, Verdict
from services.payment.provider import Provider, StripeRetry
from services.payment.rules import Answer, answered

CALLS: Final = Counter("orderflow_stripe_calls_total", "Calls to Stripe", ["kind", "outcome"])
CALL_SECONDS: Final = Histogram("orderflow_stripe_call_seconds", "From call to answer", ["kind"])
IN_FLIGHT: Final = Gauge("orderflow_stripe_calls_in_flight", "Calls claimed and not yet recorded")
CIRCUIT_OPEN: Final = Gauge(
    "orderflow_stripe_circuit_open", "1 while Stripe is taken to be down and only probes are made"
)
CIRCUIT_OPENED: Final = Counter(
    "orderflow_stripe_circuit_opened_total", "How often the circuit breaker has opened"
)
CIRCUIT_PROBES: Final = Counter(
    "orderflow_stripe_circuit_probes_total", "Calls made while the circuit is open"
)

LEASE: Final = timedelta(seconds=20)
_LONGEST_CALL: Final = 15.0  # seconds; the rest of the lease is for recording

_ATTEMPTS_TO_MENTION: Final = 5

Connect = Callable[[], AbstractAsyncContextManager[Provider]]
Finished = calls.Finished[Call, Outcome]


class Charging:
    """The workers of one process. `slots`: calls at once; `key_lifetime`: see `calling.make`."""

    def __init__(self, connect: Connect, terms: Terms, *, slots: int, key_lifetime: float) -> None:
        self._connect = connect
        self._key_lifetime = key_lifetime
        self._slots = slots
        self._reset()
        self._workers = calls.Workers[Call, Outcome](
            "Stripe",
            slots=slots,
            claim=self._claim,
            record=partial(record, terms=terms),
            in_flight=IN_FLIGHT,
        )

    def wake(self) -> None:
        """There may be calls to make."""
        self._workers.wake()

    async def run(self, service: Service) -> None:
        """Work until cancelled; what is under way then gets a moment to finish."""
        self._reset()
        async with self._connect() as provider:
            await self._workers.run(service, partial(self._make, provider))

    def _reset(self) -> None:
        self._circuit = Circuit(LEASE.total_seconds())
        self._fair_share = FairShare(self._slots)
        CIRCUIT_OPEN.set(0)

    async def _claim(self, pool: Pool, limit: int) -> list[Call]:
        places = self._circuit.places(limit, time.monotonic())
        if not places:
            return []
        probing = not self._circuit.closed  # it may open while calls are being claimed
        claimed = await call_queue.claim_calls(pool, places, LEASE, self._fair_share.shares())
        self._fair_share.claimed(claimed)
        if probing and claimed:
            self._circuit.probe(claimed[0].order_id, time.monotonic())
            CIRCUIT_PROBES.inc()
        return claimed

    async def _make(self, provider: Provider, call: Call) -> Outcome:
        outcome = await self._call(provider, call)
        self._fair_share.ended(call)
        was_closed = self._circuit.closed
        outage = isinstance(outcome, StripeRetry) and outcome.outage
        self._circuit.ended(call.order_id, time.monotonic(), outage=outage)
        if self._circuit.closed is not was_closed:
            self._log_circuit(str(outcome))
        return outcome

    def _log_circuit(self, outcome: str) -> None:
        CIRCUIT_OPEN.set(not self._circuit.closed)
        if self._circuit.closed:
            log.warning("Stripe answers again: the circuit is closed")
        else:
            CIRCUIT_OPENED.inc()
            log.error("Stripe does not answer: the circuit is open", error=outcome)

    async def _call(self, provider: Provider, call: Call) -> Outcome:
        outcome: Outcome
        try:
            with CALL_SECONDS.labels(call.kind).time():
                async with asyncio.timeout(_LONGEST_CALL):
                    outcome = await make(provider, call, self._key_lifetime)
        except TimeoutError:
            outcome = StripeRetry(f"no answer within {_LONGEST_CALL:.0f} s", no_answer=True)
        except Exception as error:
            # A fault of ours and no answer: the call stays in the queue, with its error.
            log.exception("call to Stripe failed", order_id=str(call.order_id), kind=call.kind)
            outcome = StripeRetry(repr(error))
        crash_point("after-stripe-call")
        CALLS.labels(call.kind, type(outcome).__name__).inc()
        return outcome


async def record(work: Work, batch: Sequence[Finished], terms: Terms) -> list[float]:
    """Record outcomes, all in this transaction, of the calls whose lease still holds.

    Returns the seconds after which calls are to be repeated.
    """
    again = [
        deferral(item.call, item.outcome, random.random())  # noqa: S311  # jitter
        for item in batch
        if isinstance(item.outcome, StripeRetry | NotThere)
    ]
    answers = [
        (item.call, item.outcome)
        for item in batch
        if not isinstance(item.outcome, StripeRetry | NotThere)
    ]
    if answers:
        await _record_answers(work, answers, terms)
    if again:
        await call_queue.defer_calls(work.db, again)
        if max(item.call.attempts for item in again) >= _ATTEMPTS_TO_MENTION:
            log.warning("calls to Stripe fail", calls=len(again), error=again[0].error)
    return [deferred.pause for deferred in again]


async def _record_answers(work: Work, answers: Sequence[tuple[Call, Answer]], terms: Terms) -> None:
    changes = Changes(work)
    await changes.lock([call.order_id for call, _ in answers])
    ours = await call_queue.finish_calls(work.db, [call for call, _ in answers])
    for call, answer in answers:
        if call.order_id not in ours:
            continue

        def rule(payment: Payment, call: Call = call, answer: Answer = answer) -> Verdict:
            return answered(payment, call, answer, terms)

        payment = changes[call.order_id]
        verdict = changes.apply(payment, Cause(call.kind, "stripe:call", call.traceparent), rule)
        if verdict.outcome is Result.PARKED:
            log.error("payment needs a person", order_id=str(call.order_id), reason=verdict.reason)
    await changes.save()
