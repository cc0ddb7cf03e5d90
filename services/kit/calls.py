"""Workers that call somebody outside: record the intent, call, record the outcome.

    a row of a queue  ->  claimed under a short lease  ->  call, outside any transaction
                      ->  outcome recorded together with others that finished meanwhile

The queue is a table of the service's own. Handlers wake the workers after their commit; looking at
the queue once a second only finds what a crash or another replica left behind. Every call has its
own slot, so a slow one holds back no other, and a slot is free again when the outcome is recorded,
so a slow database holds back calls.

A worker that dies, or stands still for longer than the lease, is repeated by another; `record`
must turn away what it brings afterwards by the token of its lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from prometheus_client import Gauge

from services.kit.db import Pool, is_infrastructure
from services.kit.service import Service
from services.kit.telemetry import log
from services.kit.work import Work

_LOOK_EVERY: Final = 1.0
_TO_FINISH_AT_STOP: Final = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


class Queued(Protocol):
    """What is known of any call: the order that it is made for."""

    @property
    def order_id(self) -> UUID: ...


C = TypeVar("C", bound=Queued)
O = TypeVar("O")  # noqa: E741  # the outcome


class Finished(NamedTuple, Generic[C, O]):
    """A call that was made."""

    call: C
    outcome: O


class Workers(Generic[C, O]):
    """The workers of one process.

    `whom` is called, for the log. `slots`: calls at once. `claim` takes so many due calls at most
    under a lease; `record` writes outcomes in one transaction and returns the seconds after which
    calls are to be repeated.
    """

    def __init__(
        self,
        whom: str,
        *,
        slots: int,
        claim: Callable[[Pool, int], Awaitable[list[C]]],
        record: Callable[[Work, Sequence[Finished[C, O]]], Awaitable[list[float]]],
        in_flight: Gauge,
    ) -> None:
        self._whom = whom
        self._slots = slots
        self._claim = claim
        self._record_all = record
        self._in_flight = in_flight
        self._recording = 0
        self._wake = asyncio.Event()
        self._calling: set[asyncio.Task[None]] = set()
        self._finished: list[Finished[C, O]] = []
        self._any_finished = asyncio.Event()

    @property
    def _busy(self) -> int:
        """Slots in use: calls that are made, and outcomes that are not recorded yet."""
        return len(self._calling) + len(self._finished) + self._recording

    def wake(self) -> None:
        """There may be calls to make."""
        self._wake.set()

    async def run(self, service: Service, make: Callable[[C], Awaitable[O]]) -> None:
        """Work until cancelled; what is under way then gets a moment to finish. `make` makes one
        call and raises nothing: whatever happens is an outcome."""
        self._recording = 0
        self._finished.clear()
        recorder = asyncio.create_task(self._record_finished(service))
        try:
            while True:
                self._wake.clear()
                await self._start_due(service, make)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY):
                        await self._wake.wait()
        finally:
            await self._stop(recorder)

    async def _start_due(self, service: Service, make: Callable[[C], Awaitable[O]]) -> None:
        while free := self._slots - self._busy:
            try:
                calls = await self._claim(service.pool, free)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("calls wait for the database", to=self._whom, error=str(error))
                return
            for call in calls:
                task = asyncio.create_task(self._make(make, call))
                self._calling.add(task)
                task.add_done_callback(self._calling.discard)  # also if it never began
            self._in_flight.set(self._busy)
            if len(calls) < free:
                return

    async def _make(self, make: Callable[[C], Awaitable[O]], call: C) -> None:
        try:
            outcome = await make(call)
        except Exception:
            # A defect: `make` was to raise nothing. The lease ends and the call is repeated; its
            # slot is free at once.
            log.exception("call failed", to=self._whom, order_id=str(call.order_id))
            self.wake()
        else:
            # Looked up only now: the recorder has put another list in its place meanwhile.
            self._finished.append(Finished(call, outcome))
            self._any_finished.set()
        finally:
            # Before anybody is woken who counts the free slots.
            task = asyncio.current_task()
            assert task is not None  # noqa: S101  # for the type checker: a coroutine is run by one
            self._calling.discard(task)

    async def _record_finished(self, service: Service) -> None:
        while True:
            await self._any_finished.wait()
            self._any_finished.clear()
            batch, self._finished = self._finished, []
            self._recording = len(batch)
            try:
                await self._record(service, batch)
            finally:
                self._recording = 0
            self._in_flight.set(self._busy)
            self.wake()

    async def _record(self, service: Service, batch: Sequence[Finished[C, O]]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                async with service.transaction(publish="later") as work:
                    pauses = await self._record_all(work, batch)
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


def backoff(first: float, longest: float, attempts: int, chance: float) -> float:
    """Seconds until the next attempt: `first`, doubled with each of the `attempts` so far and
    `longest` at most; half of it by chance (0 to 1), which spreads the repeats of many calls."""
    return float(min(first * 2.0 ** min(attempts - 1, 20), longest) * (0.5 + chance / 2))
