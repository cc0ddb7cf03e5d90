"""The one error of the local stack: what failed, where its log is, what to do about it."""

from __future__ import annotations

from pathlib import Path

LOG_LINES = 15


class StackError(Exception):
    """A step of the local stack failed. `str()` is complete: cause, last log lines, next step."""

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
