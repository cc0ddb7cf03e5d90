"""The command line: `make mutants`, `make mutants ONLY=no-sweeper`."""

import re
import shutil
import signal
import subprocess
import sys
import time
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from deploy.local.home import PROJECT
from tests.faults.mutants.breaking import Mutant
from tests.faults.mutants.mutants import MUTANTS

FOLDER = PROJECT / ".local" / "mutants"
RATE, PATIENCE = 20, 20
"""Orders offered per second; seconds that a broken system gets to come to rest."""
LONGEST = 300.0
"""Seconds after which a run is ended: a system that hangs was not judged."""
MENTIONED = 150
"""Characters of a breach that are shown; the log has all."""
BREACH = re.compile(r"^  BREACH (I\d+): (.*)$", re.MULTILINE)


class Seen(NamedTuple):
    """What the harness said of a mutant."""

    mutant: Mutant
    breaches: dict[str, str]
    """The first one of each promise."""
    seconds: float

    @property
    def caught(self) -> bool:
        return self.mutant.breaks in self.breaches


def main(
    only: Annotated[list[str] | None, typer.Option(help="These mutants.")] = None,
) -> None:
    """Break the system on purpose, and see whether the harness notices: exits with 1 if it does
    not, or says another promise than the one that is broken."""
    unknown = set(only or ()) - {mutant.name for mutant in MUTANTS}
    if unknown:
        names = ", ".join(mutant.name for mutant in MUTANTS)
        print(f"error: no mutant is called {', '.join(unknown)}; there are {names}")
        raise typer.Exit(2)
    seen = [_look(mutant) for mutant in MUTANTS if not only or mutant.name in only]
    _show(seen)
    if not all(each.caught for each in seen):
        raise typer.Exit(1)


def _look(mutant: Mutant) -> Seen:
    """Run the harness in a copy with the mutant. What it says is kept beside the copy, and the copy
    with its servers' data only if the mutant survived: somebody will want to know why."""
    copy = FOLDER / mutant.name
    mutant.plant(copy)
    log = FOLDER / f"{mutant.name}.log"
    print(f"{mutant.name}: {mutant.story}; see {log.relative_to(PROJECT)}", flush=True)
    command = [
        *(sys.executable, "-m", "tests.faults", "--seed", str(mutant.seed)),
        *("--rate", str(RATE), "--patience", str(PATIENCE)),
        *(word for name in mutant.faults for word in ("--only", name)),
    ]
    began = time.monotonic()
    with log.open("w") as output:
        harness = subprocess.Popen(command, cwd=copy, stdout=output, stderr=subprocess.STDOUT)
        try:
            harness.wait(LONGEST)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as why:
            # It stops its servers itself: killing it would leave them running.
            harness.send_signal(signal.SIGINT)
            harness.wait()
            if isinstance(why, KeyboardInterrupt):
                raise
    breaches: dict[str, str] = {}
    for number, what in BREACH.findall(log.read_text()):
        breaches.setdefault(number, what)
    for number, what in breaches.items():
        print(f"  {number}: {what[:MENTIONED]}", flush=True)
    seen = Seen(mutant, breaches, time.monotonic() - began)
    if seen.caught:
        shutil.rmtree(copy)
    return seen


def _show(seen: list[Seen]) -> None:
    table = Table("mutant", "breaks", "caught by", "seed", "faults", "seconds")
    for each in seen:
        mutant, style = each.mutant, "green" if each.caught else "red"
        table.add_row(
            mutant.name,
            mutant.breaks,
            f"[{style}]{', '.join(each.breaches) or 'nothing: it survived'}[/]",
            str(mutant.seed),
            ", ".join(mutant.faults),
            f"{each.seconds:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
