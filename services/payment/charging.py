"""The workers that call Stripe: record the intent, call, record the outcome.

    stripe_calls row  ->  claimed under a short lease  ->  call, outside any transaction
                      ->  outcome recorded together with others that finished meanwhile

Handlers wake the workers after their commit; looking at the queue once a second only finds what a
crash or another replica left behind. Every call has its own slot, so a slow one holds back no
other, and a slot is free again when the outcome is recorded, so a slow database holds back calls.

A worker that dies, or stands still for longer than the lease, is repeated by another under the
same idempotency key; what it brings afterwards is turned away by its lease token.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple
from uuid import uuid4

from prometheus_client import Counter, Gauge, Histogram

from services.kit.crash import crash_point
from services.kit.db import is_infrastructure
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work
from services.payment import call_queue
from services.payment.calling import NotThere, Outcome, deferral, make
from services.payment.changes import Cause, Changes
from services.payment.model import Call, Payment, Result, Terms, Verdict
from services.payment.provider import Provider, StripeRetry
from services.payment.rules import Answer, answered

CALLS: Final = Counter("orderflow_stripe_calls_total", "Calls to Stripe", ["kind", "outcome"])
CALL_SECONDS: Final = Histogram("orderflow_stripe_call_seconds", "From call to answer", ["kind"])
IN_FLIGHT: Final = Gauge("orderflow_stripe_calls_in_flight", "Calls claimed and not yet recorded")

LEASE: Final = timedelta(seconds=20)
_LONGEST_CALL: Final = 15.0  # seconds; the rest of the lease is for recording
_LOOK_EVERY: Final = 1.0
_TO_FINISH_AT_STOP: Final = 5.0

_ATTEMPTS_TO_MENTION: Final = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

Connect = Callable[[], AbstractAsyncContextManager[Provider]]


class Finished(NamedTuple):
    call: Call
    outcome: Outcome


class Charging:
    """The workers of one process. `slots`: calls at once; `key_lifetime`: see `calling.make`."""

    def __init__(self, connect: Connect, terms: Terms, *, slots: int, key_lifetime: float) -> None:
        self._connect = connect
        self._terms = terms
        self._slots = slots
        self._key_lifetime = key_lifetime
        self._busy = 0
        self._wake = asyncio.Event()
        self._calling: set[asyncio.Task[None]] = set()
        self._finished: list[Finished] = []
        self._any_finished = asyncio.Event()

    def wake(self) -> None:
        """There may be calls to make."""
        self._wake.set()

    async def run(self, service: Service) -> None:
        """Work until cancelled; what is under way then gets a moment to finish."""
        self._busy = 0
        self._finished.clear()
        async with self._connect() as provider:
            recorder = asyncio.create_task(self._record_finished(service))
            try:
                while True:
                    self._wake.clear()
                    await self._start_due(service, provider)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_EVERY):
                            await self._wake.wait()
            finally:
                await self._stop(recorder)

    async def _start_due(self, service: Service, provider: Provider) -> None:
        while free := self._slots - self._busy:
            try:
                calls = await call_queue.claim_calls(service.pool, free, LEASE, uuid4())
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("calls to Stripe wait for the database", error=str(error))
                return
            self._busy += len(calls)
            IN_FLIGHT.set(self._busy)
            for call in calls:
                task = asyncio.create_task(self._make(provider, call))
                self._calling.add(task)
                task.add_done_callback(self._calling.discard)
            if len(calls) < free:
                return

    async def _make(self, provider: Provider, call: Call) -> None:
        outcome: Outcome
        try:
            with CALL_SECONDS.labels(call.kind).time():
                async with asyncio.timeout(_LONGEST_CALL):
                    outcome = await make(provider, call, self._key_lifetime)
        except TimeoutError:
            outcome = StripeRetry(f"no answer within {_LONGEST_CALL:.0f} s")
        except Exception as error:
            # A fault of ours and no answer: the call stays in the queue, with its error.
            log.exception("call to Stripe failed", order_id=str(call.order_id), kind=call.kind)
            outcome = StripeRetry(repr(error))
        crash_point("after-stripe-call")
        CALLS.labels(call.kind, type(outcome).__name__).inc()
        self._finished.append(Finished(call, outcome))
        self._any_finished.set()

    async def _record_finished(self, service: Service) -> None:
        while True:
            await self._any_finished.wait()
            self._any_finished.clear()
            batch, self._finished = self._finished, []
            await self._record(service, batch)
            self._busy -= len(batch)
            IN_FLIGHT.set(self._busy)
            self.wake()

    async def _record(self, service: Service, batch: Sequence[Finished]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with service.transaction(publish="later") as work:
                    pauses = await record(work, batch, self._terms)
                    work.after_commit(partial(self._wake_in, pauses))
                return
            except Exception as error:
                if is_infrastructure(error):
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                if len(batch) == 1:
                    # The lease will end and the call be repeated, for all to see, until mended.
                    log.exception("outcome not recorded", order_id=str(batch[0].call.order_id))
                    return
            for finished in batch:
                await self._record(service, [finished])
            return

    def _wake_in(self, pauses: Sequence[float]) -> None:
        loop = asyncio.get_running_loop()
        for pause in pauses:
            loop.call_later(pause, self.wake)

    async def _stop(self, recorder: "asyncio.Task[None]") -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TO_FINISH_AT_STOP):
                while self._busy:
                    self._wake.clear()
                    await self._wake.wait()
        # What is cut off here is repeated under the same key when its lease has ended.
        left = [recorder, *self._calling]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


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
