"""The same load and the same judgement on docker-compose.yml: `make compose-faults SEED=7`.

The faults are those that an engine can make: a container is killed, paused, cut off from its
network, restarted. What strikes inside a service, and between it and Stripe, is left to
`make faults`.
"""

import asyncio
import json
import random
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import typer

from deploy.compose.system import OPENED, ComposeSystem
from deploy.local.home import PROJECT
from tests.faults.__main__ import show
from tests.faults.nemesis import SERVICES
from tests.faults.run import Verdict
from tests.faults.trial import IMPATIENT, WARM_UP, judge
from tests.faults.verdict import paths_taken

SERVERS = ("kafka", "postgres")
PATHS = ("stock restored", "late payment refunded", "reservation expired")
"""Those that a run must take; the others need faults that an engine cannot make."""
SECONDS_HELD = 8.0
"""Longer than the session of a group's member, so that others would take over."""


class Containers:
    """The faults, each of which returns its evidence."""

    def __init__(self, system: ComposeSystem) -> None:
        self._system = system

    async def kill(self, service: str) -> str:
        """SIGKILL; started again a second later, as an orchestrator would."""
        await self._compose("kill", "--signal", "SIGKILL", service)
        state = await self._state(service)
        await asyncio.sleep(1)
        await self._compose("start", service)
        assert state["ExitCode"] == 137, f"{service} ended with {state['ExitCode']}"
        return f"{service} exited with 137"

    async def restart(self, service: str) -> str:
        """In order: SIGTERM (SIGINT for PostgreSQL), and started again."""
        before = await self._state(service)
        await self._compose("restart", service)
        after = await self._state(service)
        assert after["StartedAt"] > before["StartedAt"], f"{service} was not restarted"
        return f"{service} started again at {after['StartedAt']}"

    async def pause(self, service: str) -> str:
        """All its processes stand still."""
        await self._compose("pause", service)
        state = await self._state(service)
        await asyncio.sleep(SECONDS_HELD)
        await self._compose("unpause", service)
        assert state["Paused"], f"{service} was not paused"
        return f"{service} paused for {SECONDS_HELD:.0f} s"

    async def disconnect(self, service: str) -> str:
        """Cut off from the inner network; its connections hang, nobody hears of their end."""
        network = f"{self._system.project}_inside"
        container = await self._container(service)
        await self._docker("network", "disconnect", network, container)
        left = json.loads(await self._docker("network", "inspect", network))[0]["Containers"]
        await asyncio.sleep(SECONDS_HELD)
        await self._docker("network", "connect", "--alias", service, network, container)
        assert container not in left, f"{service} was not cut off"
        return f"{service} cut off from {network} for {SECONDS_HELD:.0f} s"

    async def _container(self, service: str) -> str:
        return (await self._compose("ps", "--all", "--quiet", service)).strip()

    async def _state(self, service: str) -> dict[str, Any]:
        said = await self._docker("inspect", await self._container(service))
        state: dict[str, Any] = json.loads(said)[0]["State"]
        return state

    async def _compose(self, *arguments: str) -> str:
        return await asyncio.to_thread(self._system.compose, *arguments)

    async def _docker(self, *arguments: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, ["docker", *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout


def schedule_of(seed: int, count: int) -> list[tuple[str, str]]:
    """(fault, service), `count` in all: kinds in turn, so that few of them show many."""
    rng = random.Random(seed)
    kinds = [("kill", SERVICES), ("kill", SERVERS), ("restart", SERVERS)]
    kinds += [("pause", SERVICES), ("disconnect", (*SERVICES, *SERVERS))]
    rng.shuffle(kinds)
    drawn = [kinds[number % len(kinds)] for number in range(count)]
    return [(fault, rng.choice(services)) for fault, services in drawn]


async def run(system: ComposeSystem, seed: int, count: int, rate: float) -> Verdict:
    """Beat a running system and judge it."""
    verdict = Verdict(seed=seed)
    faults = Containers(system)
    strikes: dict[str, Callable[[str], Awaitable[str]]] = {
        "kill": faults.kill,
        "restart": faults.restart,
        "pause": faults.pause,
        "disconnect": faults.disconnect,
    }

    async def strike_all() -> None:
        for fault, service in schedule_of(seed, count):
            began = time.monotonic()
            evidence = await strikes[fault](service)
            verdict.struck[f"{fault} {service}"] = evidence
            print(f"  {time.monotonic() - began:5.1f} s  {fault}: {evidence}", flush=True)
            await asyncio.sleep(WARM_UP)

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        evidence_of_all = await judge(
            system, system.parts, client, verdict, strike_all, rate=rate, seed=seed
        )
    taken = paths_taken(evidence_of_all, swept=0, replayed=0, duplicates=0)
    verdict.paths = {path: taken[path] for path in PATHS}
    return verdict


def main(
    seed: Annotated[int | None, typer.Option(help="Without, a random one.")] = None,
    faults: Annotated[int, typer.Option(help="How many faults.")] = 5,
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 12,
) -> None:
    """Beat the system in containers and judge it. Exits with 1 on a breach."""
    seed = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    system = ComposeSystem(
        "orderflow-faults",
        IMPATIENT,
        only=SERVICES,
        overrides=(OPENED, PROJECT / "tests" / "faults" / "impatient.yml"),
    )
    system.remove()
    try:
        system.up()
        print(f"seed {seed}, on containers", flush=True)
        verdict = asyncio.run(run(system, seed, faults, rate))
        show(verdict)
    finally:
        system.remove()
    raise typer.Exit(1 if verdict.breaches else 0)


if __name__ == "__main__":
    typer.run(main)
