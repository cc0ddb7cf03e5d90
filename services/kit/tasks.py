"""Coroutines that run from a service's start to its stop, and are started again when they fail."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from services.kit.errors import KitError, is_infrastructure
from services.kit.telemetry import TASK_FAILURES, log

Call = Callable[[], Awaitable[object]]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_RECOVERED_AFTER = 60.0


class Tasks:
    """Named coroutines. Infrastructure errors cost one line each, anything else a traceback."""

    def __init__(self) -> None:
        self._calls: dict[str, Call] = {}
        self._running: list[asyncio.Task[None]] = []

    def add(self, name: str, call: Call) -> None:
        self._calls[name] = call

    def start(self) -> None:
        self._running = [
            asyncio.create_task(_keep_running(name, call), name=name)
            for name, call in self._calls.items()
        ]

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


def repeating(call: Call, *, seconds: float) -> Call:
    """Call again and again, about so many seconds apart: replicas that started together must not
    go on in step."""

    async def repeat() -> None:
        while True:
            await call()
            await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311

    return repeat


async def _keep_running(name: str, call: Call) -> None:
    pause = _FIRST_PAUSE
    clock = asyncio.get_running_loop().time
    while True:
        started = clock()
        try:
            await call()
            return
        except Exception as error:
            TASK_FAILURES.labels(name).inc()
            if clock() - started > _RECOVERED_AFTER:
                pause = _FIRST_PAUSE
            if is_infrastructure(error) or isinstance(error, KitError):
                log.warning("task waits", task=name, error=str(error) or repr(error))
            else:
                log.exception("task failed", task=name)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
