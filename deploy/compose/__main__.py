"""The command line of the system in containers: `python -m deploy.compose --help`."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from deploy.compose.system import ComposeSystem
from deploy.local.demo import SETTINGS, run_demo
from deploy.local.errors import run_app

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The whole system in containers. `docker compose` itself starts and stops it.",
)


@app.command()
def demo() -> None:
    """From nothing to orders paid, declined, cancelled, expired and raced for, all checked."""
    system = ComposeSystem("orderflow-demo", SETTINGS)
    system.remove()
    try:
        begun = time.monotonic()
        system.up()
        print(f"all containers are healthy after {time.monotonic() - begun:.0f} s")
        right = asyncio.run(run_demo(system))
    finally:
        system.remove()
    if not right:
        raise typer.Exit(1)


@app.command()
def token(
    customer: Annotated[str, typer.Option(help="The customer's id.")],
    role: Annotated[list[str] | None, typer.Option(help="viewer, operator or admin")] = None,
) -> None:
    """Print a bearer token for the gateway, good for a day."""
    print(ComposeSystem("orderflow", {}).token(customer, *(role or [])))


if __name__ == "__main__":
    run_app(app)
