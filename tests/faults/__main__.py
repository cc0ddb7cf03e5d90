"""The command line: `make faults SEED=7`, `make soak MINUTES=60`."""

import asyncio
import random
import time
from typing import Annotated

import typer

from tests.faults.run import Verdict, run, schedule_of


def main(
    seed: Annotated[int | None, typer.Option(help="The first seed; without, a random one.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, one after the other.")] = 1,
    minutes: Annotated[float, typer.Option(help="Go on for so long, however many seeds.")] = 0,
    faults: Annotated[int, typer.Option(help="How many faults per seed.")] = 6,
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 50,
    brokers: Annotated[int, typer.Option(help="Kafka brokers; three make copies.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="These faults instead.")] = None,
) -> None:
    """Beat the system and judge it. Exits with 1 on a breach."""
    first = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    until = time.monotonic() + minutes * 60
    number, failed = 0, []
    while number < seeds or time.monotonic() < until:
        if not _one(first + number, faults, rate, brokers, only):
            failed.append(first + number)
        number += 1
    print(f"{number} seeds from {first}, failed: {failed or 'none'}")
    raise typer.Exit(1 if failed else 0)


def _one(seed: int, faults: int, rate: float, brokers: int, only: list[str] | None) -> bool:
    schedule = only or schedule_of(seed, faults, soak=brokers > 1)
    print(f"seed {seed}: {', '.join(schedule)}", flush=True)
    verdict = asyncio.run(run(seed, schedule, rate=rate, brokers=brokers))
    show(verdict)
    return not verdict.breaches


def show(verdict: Verdict) -> None:
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in verdict.seconds.items())
    print(f"  {verdict.orders} orders; {took}")
    print(f"  {', '.join(f'{path} {count}' for path, count in verdict.paths.items())}")
    for breach in verdict.breaches[:20]:
        print(f"  BREACH {breach}")
    print(f"seed {verdict.seed}: {'FAILED' if verdict.breaches else 'passed'}", flush=True)


if __name__ == "__main__":
    typer.run(main)
