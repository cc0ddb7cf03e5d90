"""Makes `.venv` from `requirements.lock`: run by make with a bare Python 3.11, nothing installed.

An environment that already holds exactly what the lock says (made by other means) is kept as it
is. The copy of the lock inside `.venv` tells the next run that there is nothing to do. The
benchmarks make an environment for the peers in the same way.
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
        bring_up_to_date(VENV, LOCK)
    except subprocess.CalledProcessError as error:
        return fail(
            f"{' '.join(map(str, error.cmd))} ended with status {error.returncode}",
            "read the lines above; the first run needs a connection to the Python package index",
        )
    return 0


def bring_up_to_date(venv: Path, lock: Path) -> None:
    """Makes the environment hold what the lock says.

    Raises subprocess.CalledProcessError if a step fails.
    """
    if not satisfied(venv, lock):
        install(venv, lock)
    shutil.copyfile(lock, venv / "requirements.lock")


def python_of(venv: Path) -> Path:
    """The environment's interpreter."""
    return venv / "bin" / "python"


def satisfied(venv: Path, lock: Path) -> bool:
    """Whether it works, is of Python 3.11, and holds every package in its locked version."""
    if not python_of(venv).exists():
        return False
    shown = subprocess.run([python_of(venv), "-c", LIST_INSTALLED], capture_output=True, text=True)
    if shown.returncode != 0:
        return False
    version, packages = json.loads(shown.stdout)
    installed = {(_normal(name), version) for name, version in packages.items()}
    return version == [3, 11] and locked(lock) <= installed


def locked(lock: Path) -> set[tuple[str, str]]:
    """(name, version) of every package in the lock."""
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", lock.read_text(), re.MULTILINE
    )
    return {(_normal(name), version) for name, version in pins}


def install(venv: Path, lock: Path) -> None:
    """Creates the environment where it is missing or broken, and installs the lock into it."""
    print(f"installing {len(locked(lock))} packages into {venv.name}", flush=True)
    if venv.is_symlink():
        venv.unlink()
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(python_of(venv))]
    else:
        command = [str(python_of(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*command, "--quiet", "--require-hashes", "-r", str(lock)], check=True)


def fail(what: str, todo: str) -> int:
    print(f"error: {what}\n  what to do: {todo}", file=sys.stderr)
    return 1


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
