"""The one error of a stack: what failed, where its log is, what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

LOG_LINES = 15


class StackError(Exception):
    """A step of a stack failed. `str()` is complete: cause, last log lines, next step."""

    def __init__(self, what: str, *, todo: str, log: Path | None = None) -> None:
        lines = [what]
        if log is not None:
            lines += [f"  | {line}" for line in tail(log, LOG_LINES)]
            lines.append(f"  whole log: {log}")
        lines.append(f"  what to do: {todo}")
        super().__init__("\n".join(lines))


def tail(log: Path, lines: int) -> list[str]:
    """The last lines of a log file; none if there is no such file."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        # Enough for the lines of a stack trace; a log may have grown to gigabytes.
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def run_app(app: Callable[[], object]) -> None:
    """Runs a command line; a failed step is told in words, without a traceback."""
    try:
        app()
    except StackError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print("error:", style="bold red", end=" ")
        # Log lines are full of brackets that must not be taken for markup.
        console.print(str(error), markup=False, highlight=False)
        sys.exit(1)
