"""What all faults share: how they are declared, what they get, how they prove what they did.

    @fault(name="kill", row="kill -9 of each service")
    async def kill(beaten: Beaten, rng: random.Random) -> str: ...

A fault strikes, holds, heals by itself (also when it fails), and returns its evidence as one line.
What it chooses it draws from `rng` before its first await, so that a seed repeats it. Faults are
run one after the other.
"""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.directory import is_service
from deploy.local.services import ORDERING, service_of
from deploy.local.stack import LocalStack
from deploy.verify.databases import fetch
from services.order.deadlines import WAITS_FOR_ANSWER
from tests.faults.network import Network

SERVICES = ORDERING

_PATIENCE = 30.0
"""Seconds for a statement: the server may be under a fault."""

Strike = Callable[["Beaten", random.Random], Awaitable[str]]


class NotStruck(Exception):  # noqa: N818  # a finding about the run, not about the system
    """The fault cannot be made here, or it cannot prove that it struck; the text says why."""


class Breach(AssertionError):  # noqa: N818
    """The system did under a fault what it must not do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to beat the system. `row` is that of the table in docs/reliability.md."""

    name: str
    row: str
    soak_only: bool
    strike: Strike

    async def __call__(self, beaten: "Beaten", rng: random.Random) -> str:
        """Strike and heal; returns the evidence. Raises NotStruck, or Breach."""
        return await self.strike(beaten, rng)


FAULTS: dict[str, Fault] = {}
"""All faults by name, once their modules are imported: `tests.faults` imports them."""


def fault(*, name: str, row: str, soak_only: bool = False) -> Callable[[Strike], Strike]:
    """Declare a fault."""

    def register(strike: Strike) -> Strike:
        if name in FAULTS:
            raise ValueError(f"two faults are called {name}")
        FAULTS[name] = Fault(name, row, soak_only, strike)
        return strike

    return register


@dataclass(frozen=True, slots=True)
class Beaten:
    """The system under test, as faults see it."""

    stack: LocalStack
    network: Network
    client: httpx.AsyncClient

    # -- looking ---------------------------------------------------------------------------

    async def rows(self, service: str, sql: str, *values: Any) -> list[asyncpg.Record]:
        """What a statement returns in a service's database, past the proxies."""
        return await fetch(self.stack.postgres[service], sql, *values, command_timeout=_PATIENCE)

    async def admin(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """What a statement returns to a superuser of the server."""
        dsn = self.stack.postgres_server.admin_dsn
        return await fetch(dsn, sql, *values, command_timeout=_PATIENCE)

    async def in_hand(self) -> int:
        """Orders for which somebody owes an answer right now."""
        (row,) = await self.rows(
            "order", "SELECT count(*) FROM orders WHERE saga_state = ANY($1)", WAITS_FOR_ANSWER
        )
        return int(row["count"])

    async def work_in_hand(self, *, within: float = 15) -> int:
        """Wait for a moment at which orders are in hand: how many. Raises NotStruck."""
        return await self.until(self.in_hand, within=within, otherwise="no order was in hand")

    async def until(
        self,
        look: Callable[[], Awaitable[int]],
        *,
        within: float,
        otherwise: str,
        error: type[Exception] = NotStruck,
        every: float = 0.05,
    ) -> int:
        """Look until there is something, and return it; raises `error(otherwise)` if there is
        not within that many seconds."""
        deadline = time.monotonic() + within
        while not (seen := await look()):
            if time.monotonic() > deadline:
                raise error(otherwise)
            await asyncio.sleep(every)
        return seen

    async def metric(self, service: str, name: str) -> float:
        """The sum of a metric over all labels and all replicas of a service."""
        total = 0.0
        for process, pid in self.stack.status().items():
            if pid and is_service(process) and service_of(process).name == service:
                total += await self.metric_of(process, name)
        return total

    async def metric_of(self, process: str, name: str) -> float:
        """The sum of a metric of one process over all labels."""
        answer = await self.client.get(f"{self.stack.url(process)}/metrics")
        families = text_string_to_metric_families(answer.raise_for_status().text)
        return sum(
            sample.value for family in families for sample in family.samples if sample.name == name
        )

    # -- processes -------------------------------------------------------------------------

    def pid(self, process: str) -> int | None:
        """The process id, None for what does not run."""
        return self.stack.process(process).pid

    async def start(
        self, process: str, *, env: Mapping[str, str] | None = None, wait: bool = True
    ) -> None:
        """Start one process, by default until it is ready."""
        await asyncio.to_thread(self.stack.start, process, env=env, wait=wait)

    async def stop(self, process: str) -> bool:
        """Stop one process cleanly; False if it had to be killed."""
        return await asyncio.to_thread(self.stack.stop, process)

    async def kill(self, process: str, number: signal.Signals = signal.SIGKILL) -> str:
        """Send a signal that ends a process, and wait for its end: says which died and how."""
        pid = self.pid(process)
        await asyncio.to_thread(self.stack.kill, process, number)
        return f"{process} (pid {pid}) {await self.death(process, within=10)}"

    async def death(self, process: str, *, within: float) -> str:
        """How a process ended, which it must do within that many seconds. Raises NotStruck."""

        async def gone() -> int:
            return self.pid(process) is None

        await self.until(gone, within=within, otherwise=f"{process} did not die")
        status = self.stack.process(process).exit_status
        return f"died of signal {-status}" if status and status < 0 else f"ended with {status}"

    async def revive(self, *processes: str) -> None:
        """Start those that do not run, and wait until all are ready."""
        for process in processes:
            if self.pid(process) is None:
                await self.start(process)
            else:
                await asyncio.to_thread(self.stack.wait_ready, process)
