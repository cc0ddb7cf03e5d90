"""A copy of the project in which one thing is wrong."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from deploy.local.home import CACHE, PROJECT


class MovedOnError(Exception):
    """The code is not what a mutant was made for; the text says what to look at."""


class Edit(NamedTuple):
    """A piece of text that occurs once in a file, and what stands there instead."""

    path: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text with the edit. Raises MovedOnError if `old` is not there once."""
        found = text.count(self.old)
        if found != 1:
            raise MovedOnError(
                f"{self.path} has {found} times, not once, what a mutant replaces:\n{self.old}"
            )
        return text.replace(self.old, self.new)


class Mutant(NamedTuple):
    """A mistake that somebody could make."""

    name: str
    story: str
    """The mistake in a few words."""
    breaks: str
    """The promise whose breach the harness must report, `I1` to `I10`."""
    seed: int
    faults: tuple[str, ...]
    edits: tuple[Edit, ...]

    def texts(self) -> dict[str, str]:
        """The files that change, by path, as they become. Raises MovedOnError."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            before = texts.get(edit.path) or (PROJECT / edit.path).read_text()
            texts[edit.path] = edit.applied(before)
        return texts

    def plant(self, copy: Path) -> None:
        """Make `copy` the project with this mutant: what git tracks, as it is in the work tree."""
        texts = self.texts()
        shutil.rmtree(copy, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=PROJECT,
            capture_output=True,
            check=True,
        )
        for name in listed.stdout.decode().split("\0"):
            source, target = PROJECT / name, copy / name
            if name and source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for path, text in texts.items():
            (copy / path).write_text(text)
        (copy / ".local").mkdir()
        CACHE.mkdir(parents=True, exist_ok=True)
        (copy / ".local" / "cache").symlink_to(CACHE)  # Kafka is the same one
