"""The command line: `make faults SEED=7`, `make soak MINUTES=60`."""

import asyncio
import random
import time
from collections import Counter
from typing import Annotated

import typer

from tests.faults.run import Verdict, run, schedule_of
from tests.looking import TO_REST

SHOWN = 5
"""Breaches of one promise that are shown: a flood of one must not hide another."""


def main(
    seed: Annotated[int | None, typer.Option(help="The first seed; without, a random one.")] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, one after the other.")] = 1,
    minutes: Annotated[float, typer.Option(help="Go on for so long, however many seeds.")] = 0,
    faults: Annotated[int, typer.Option(help="How many faults per seed.")] = 6,
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 50,
    brokers: Annotated[int, typer.Option(help="Kafka brokers; three make copies.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="These faults instead.")] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds within which everything must come to rest (I5).")
    ] = TO_REST,
) -> None:
    """Beat the system and judge it. Exits with 1 on a breach."""
    first = seed if seed is not None else random.SystemRandom().randrange(1_000_000)
    until = time.monotonic() + minutes * 60
    number, failed = 0, []
    while number < seeds or time.monotonic() < until:
        schedule = only or schedule_of(first + number, faults, soak=brokers > 1)
        print(f"seed {first + number}: {', '.join(schedule)}", flush=True)
        verdict = asyncio.run(
            run(first + number, schedule, rate=rate, brokers=brokers, patience=patience)
        )
        show(verdict)
        if verdict.breaches:
            failed.append(first + number)
        number += 1
    print(f"{number} seeds from {first}, failed: {failed or 'none'}")
    raise typer.Exit(1 if failed else 0)


def show(verdict: Verdict) -> None:
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in verdict.seconds.items())
    print(f"  {verdict.orders} orders; {took}")
    print(f"  {', '.join(f'{path} {count}' for path, count in verdict.paths.items())}")
    counts = Counter[str]()
    for breach in verdict.breaches:
        what = breach.partition(":")[0]
        counts[what] += 1
        if counts[what] <= SHOWN:
            print(f"  BREACH {breach}")
    for what, count in counts.items():
        if count > SHOWN:
            print(f"  {count} breaches of {what} in all")
    print(f"seed {verdict.seed}: {'FAILED' if verdict.breaches else 'passed'}", flush=True)


if __name__ == "__main__":
    typer.run(main)
