"""The command line: `python -m deploy.verify [--seconds 60]`, `make verify`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

import asyncpg
import httpx
import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from deploy.verify.evidence import Evidence
from deploy.verify.invariants import Finding, check_all
from deploy.verify.rest import System, gather
from deploy.verify.told import Told

MENTIONED = 10
"""Breaches of one invariant that are shown; the rest is counted."""


def main(
    stack: Annotated[
        Path, typer.Option(help="What `make up` wrote: addresses and secrets.")
    ] = Path(".local/stack.json"),
    seconds: Annotated[
        float, typer.Option(help="How long to wait until nothing is under way.")
    ] = 60,
) -> None:
    """Compare all databases, topics and Stripe's books: I1 to I10, with counts.

    Nobody should place orders meanwhile: what is under way shows as a difference. Exits with 1 on
    a breach, with 2 if something could not be read.
    """
    try:
        said = json.loads(stack.read_text())
    except FileNotFoundError:
        print(f"error: there is no {stack}; start the system with `make up`", file=sys.stderr)
        raise typer.Exit(2) from None
    system = System(said["postgres"], said["kafka"], said["stripe"], "sk_test_local")
    try:
        evidence = asyncio.run(gather(system, seconds))
    except (OSError, asyncpg.PostgresError, KafkaError, httpx.HTTPError) as error:
        print(f"error: a part of the system cannot be read: {error!r}", file=sys.stderr)
        raise typer.Exit(2) from error
    findings = check_all(evidence, Told())
    show(findings, evidence)
    if any(finding.breaches for finding in findings):
        raise typer.Exit(1)


def show(findings: list[Finding], evidence: Evidence) -> None:
    """Print the table, the breaches, and what waits for a person."""
    console = Console()
    table = Table("", "promise", "looked at", "breaches")
    for finding in findings:
        count = len(finding.breaches)
        style = "red" if count else "green"
        table.add_row(
            finding.invariant.number,
            finding.invariant.promise,
            finding.looked_at,
            f"[{style}]{count}[/]",
        )
    console.print(table)
    for finding in findings:
        for breach in finding.breaches[:MENTIONED]:
            console.print(f"[red]{finding.invariant.number}[/] {breach}", highlight=False)
        if (more := len(finding.breaches) - MENTIONED) > 0:
            console.print(f"[red]{finding.invariant.number}[/] ... and {more} more")
    for parked in evidence.parked:
        console.print(f"[yellow]parked[/] {parked.number} of {parked.what}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
