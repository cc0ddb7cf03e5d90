"""The inner loop on a running stack: restart what an edit changed, run one service in the
foreground, follow one order through all logs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from watchfiles import PythonFilter, watch

from deploy.local.errors import StackError
from deploy.local.home import PROJECT
from deploy.local.services import SERVICES, STANDINS, service_of
from deploy.local.stack import LocalStack

WATCHED = ("contracts", "services", "deploy/local")
_TEMPLATES = (".html", ".css", ".js", ".txt", ".sql")
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d[.,]?\d*)")
"""How the logs of services, stand-ins, Kafka and PostgreSQL begin a line; all are UTC."""
_DEBUG_PORT = 5678


class LogLine(NamedTuple):
    """One entry of a log with its continuation lines, such as a traceback."""

    at: str
    process: str
    text: str


def restart_on_change(stack: LocalStack) -> None:
    """Restarts the running processes of a service when a file of it changes, until Ctrl-C.

    A change of the kit or the contracts restarts every service. A process that does not start
    stays stopped, with the end of its log printed; the next change tries again.
    """
    folders = [PROJECT / folder for folder in WATCHED]
    print(f"watching {', '.join(WATCHED)}; Ctrl-C ends this, the stack goes on")
    for changes in watch(
        *folders,
        watch_filter=PythonFilter(extra_extensions=_TEMPLATES),
        debounce=300,
        raise_interrupt=False,
    ):
        changed = [Path(path).relative_to(PROJECT) for _, path in changes]
        for name in _to_restart(stack, affected(changed)):
            try:
                stack.restart(name)
            except StackError as error:
                print(error)


def affected(changed: Iterable[Path]) -> set[str]:
    """The names of the services that run code of these files; paths are relative to the project."""
    every = {service.name for service in SERVICES}
    standins = {Path(*service.module.split(".")): service.name for service in STANDINS}
    names: set[str] = set()
    for path in changed:
        if path.parts[0] == "contracts" or path.parts[:2] == ("services", "kit"):
            names |= every
        elif path.parts[0] == "services":
            names |= {path.parts[1]} & every
        else:
            names |= {name for folder, name in standins.items() if path.is_relative_to(folder)}
    return names


def _to_restart(stack: LocalStack, services: set[str]) -> list[str]:
    # A process that failed to start after the last edit has a record and no process.
    known = stack.recorded() - stack.infrastructure.keys()
    return sorted(name for name in known if service_of(name).name in services)


def run_in_foreground(stack: LocalStack, name: str, *, debug: bool) -> None:
    """Replaces this process by the service, with the stack's addresses and secrets.

    `breakpoint()` in its code opens pdb in this terminal. With `debug` the service waits until a
    debugger that speaks the Debug Adapter Protocol attaches.
    Raises StackError if the stack does not run.
    """
    if stack.process("postgres").pid is None:
        raise StackError("the stack does not run", todo="start it: `make up`")
    stack.stop(name)
    command = service_of(name).command
    if debug:
        listen = ["-m", "debugpy", "--listen", f"127.0.0.1:{_DEBUG_PORT}", "--wait-for-client"]
        command = [command[0], "-Xfrozen_modules=off", *listen, *command[1:]]
        print(f"{name} waits for a debugger on 127.0.0.1:{_DEBUG_PORT}", flush=True)
    os.chdir(PROJECT)
    os.execve(command[0], command, stack.environment_of(name))  # noqa: S606


def trace(stack: LocalStack, text: str) -> list[LogLine]:
    """The entries of all logs that name `text`, such as an order's id, by time."""
    found: list[LogLine] = []
    for log in sorted(stack.home.logs.glob("*.log*")):
        process = log.name.partition(".")[0]
        with log.open(errors="replace") as lines:
            found += [entry for entry in _entries(process, lines) if text in entry.text]
    return sorted(found)


def _entries(process: str, lines: Iterable[str]) -> Iterator[LogLine]:
    at, text = "", ""
    for line in lines:
        if begins := _TIMESTAMP.match(line):
            if text:
                yield LogLine(at, process, text.rstrip())
            at, text = f"{begins[1]}T{begins[2].replace(',', '.')}", ""
        text += line
    if text:
        yield LogLine(at, process, text.rstrip())


def print_trace(entries: Iterable[LogLine]) -> None:
    """One entry after the other, each with its process in front."""
    for entry in entries:
        head, *rest = entry.text.splitlines()
        print(f"{entry.process:<12} {head}", *(f"{'':<12} {line}" for line in rest), sep="\n")
