"""Makes `.venv` from `requirements.lock`: run by make with a bare Python 3.11, nothing installed.

An environment that already holds exactly what the lock says (made by other means) is kept as it
is. The copy of the lock inside `.venv` tells the next run that there is nothing to do.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOCK = PROJECT / "requirements.lock"
VENV = PROJECT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "requirements.lock"

LIST_INSTALLED = """
import importlib.metadata as metadata, json, sys
installed = {found.name: found.version for found in metadata.distributions()}
print(json.dumps([list(sys.version_info[:2]), installed]))
"""


def main() -> int:
    """Brings `.venv` up to date. Returns the process's exit status."""
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:3]))
        return fail(f"Python 3.11 is needed, this is {found}", "make PYTHON=/path/to/python3.11")
    try:
        if not satisfied():
            install()
    except subprocess.CalledProcessError as error:
        return fail(
            f"{' '.join(map(str, error.cmd))} ended with status {error.returncode}",
            "read the lines above; the first run needs a connection to the Python package index",
        )
    shutil.copyfile(LOCK, STAMP)
    return 0


def satisfied() -> bool:
    """Whether `.venv` works, is of Python 3.11, and holds every package in its locked version."""
    if not VENV_PYTHON.exists():
        return False
    shown = subprocess.run([VENV_PYTHON, "-c", LIST_INSTALLED], capture_output=True, text=True)
    if shown.returncode != 0:
        return False
    version, packages = json.loads(shown.stdout)
    installed = {(_normal(name), version) for name, version in packages.items()}
    return version == [3, 11] and locked() <= installed


def locked() -> set[tuple[str, str]]:
    """(name, version) of every package in the lock."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", LOCK.read_text(), re.MULTILINE
    )
    return {(_normal(name), version) for name, version in pins}


def install() -> None:
    """Creates `.venv` where it is missing or broken, and installs the lock into it.

    Raises subprocess.CalledProcessError if a step fails.
    """
    print(f"installing {len(locked())} packages into .venv", flush=True)
    if VENV.is_symlink():
        VENV.unlink()
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(VENV_PYTHON)]
    else:
        command = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*command, "--quiet", "--require-hashes", "-r", str(LOCK)], check=True)


def fail(what: str, todo: str) -> int:
    print(f"error: {what}\n  what to do: {todo}", file=sys.stderr)
    return 1


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
