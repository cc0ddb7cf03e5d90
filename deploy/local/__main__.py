"""The command line of the stack without containers: `python -m deploy.local --help`."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploy.local.demo import SETTINGS, run_demo
from deploy.local.development import print_trace, restart_on_change, run_in_foreground, trace
from deploy.local.errors import StackError, run_app, tail
from deploy.local.home import PROJECT
from deploy.local.stack import LocalStack

ROOT = PROJECT / ".local"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The whole system on this machine, without containers.",
)
Home = Annotated[Path, typer.Option(help="The folder that the stack lives in.")]


@app.command()
def up(home: Home = ROOT) -> None:
    """Start what does not run yet, and wait until it is ready."""
    stack = LocalStack(home)
    with stack.home.lock():
        stack.up()
    print(
        f"\nthe shop's API: {stack.gateway}/docs   mails to customers: {stack.url('smtp')}"
        f"\naddresses: {stack.home.stack_file}"
    )


@app.command()
def down(home: Home = ROOT) -> None:
    """Stop what runs, in reverse order. Data is kept."""
    stack = LocalStack(home)
    with stack.home.lock():
        stack.down()


@app.command()
def clean(home: Home = ROOT) -> None:
    """Stop and remove the data of this stack, of the demo's and of the tests'."""
    for folder in (home, *(file.parent for file in sorted(home.glob("*/settings.json")))):
        stack = LocalStack(folder)
        with stack.home.lock():
            stack.clean()


@app.command()
def status(home: Home = ROOT) -> None:
    """Show which processes run, and where."""
    stack = LocalStack(home)
    for name, pid in stack.status().items():
        state = f"runs   {pid:>8}   {stack.where(name)}" if pid else "stopped"
        print(f"{name:<12} {state}")


@app.command()
def restart(name: str, home: Home = ROOT) -> None:
    """Stop and start one process."""
    stack = LocalStack(home)
    with stack.home.lock():
        stack.restart(name)


@app.command()
def logs(name: Annotated[str | None, typer.Argument()] = None, home: Home = ROOT) -> None:
    """Show the last lines of every log, or follow one."""
    stack = LocalStack(home)
    if name is None:
        for log in sorted(stack.home.logs.glob("*.log")):
            print(f"== {log}", *tail(log, 15), "", sep="\n")
        return
    log = stack.log(name)
    if not log.exists():
        raise StackError(f"{name} has no log yet", todo="start it: `make up`")
    os.execvp("tail", ["tail", "-n", "100", "-F", str(log)])  # noqa: S606


@app.command()
def token(
    customer: Annotated[str, typer.Option(help="The customer's id.")],
    role: Annotated[list[str] | None, typer.Option(help="viewer, operator or admin")] = None,
    home: Home = ROOT,
) -> None:
    """Print a bearer token for the gateway, good for a day."""
    print(LocalStack(home).token(customer, *(role or [])))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def ops(context: typer.Context) -> None:
    """Run the ops command line on this stack, as yourself with the role admin."""
    stack = LocalStack(ROOT)
    told = {"OPS_URL": stack.url("ops"), "OPS_TOKEN": stack.token(getpass.getuser(), "admin")}
    command = [sys.executable, "-m", "services.ops.cli", *context.args]
    os.execve(sys.executable, command, os.environ | told)  # noqa: S606


@app.command()
def watch(home: Home = ROOT) -> None:
    """Restart the services whose files change, until Ctrl-C."""
    restart_on_change(LocalStack(home))


@app.command()
def run(
    name: str,
    debug: Annotated[bool, typer.Option(help="Wait for a debugger to attach.")] = False,
    home: Home = ROOT,
) -> None:
    """Run one service of the stack in this terminal, in place of its background process."""
    run_in_foreground(LocalStack(home), name, debug=debug)


@app.command("trace")
def trace_order(
    text: Annotated[str, typer.Argument(help="An order's id, or any other text.")],
    home: Home = ROOT,
) -> None:
    """Show the entries of all logs that name an order, by time."""
    found = trace(LocalStack(home), text)
    print_trace(found)
    if not found:
        raise StackError(
            f"no log names {text}",
            todo="services log each message at level debug: `LOG_LEVEL=debug make up`",
        )


@app.command()
def demo(home: Home = ROOT / "demo") -> None:
    """From nothing to orders paid, declined, cancelled, expired and raced for, all checked."""
    stack = LocalStack(home, environment=SETTINGS)
    with stack.home.lock():
        stack.clean()
        try:
            stack.up()
            right = asyncio.run(run_demo(stack))
        finally:
            stack.down()
    if not right:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_app(app)
