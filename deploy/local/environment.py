"""Makes `.venv` from `requirements.lock`. Make runs it with a bare Python, nothing installed.

An environment that already holds exactly what the lock says (made by other means, or with another
supported Python) is kept as it is. The copy of the lock inside `.venv` tells the next run that
there is nothing to do. The benchmarks make an environment for the peers in the same way, and
`make check-pythons` makes one for each Python of the machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOCK = PROJECT / "requirements.lock"
VENV = PROJECT / ".venv"
OLDEST, NEWEST = (3, 11), (3, 14)
"""The Python versions that the lock installs on, as `requires-python` in pyproject.toml."""

# Run by the environment's own interpreter, which has `packaging` if it holds the lock. Prints the
# names of the locked packages that it lacks or has in another version.
LIST_MISSING = """
import importlib.metadata as metadata, sys
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
installed = {canonicalize_name(d.name): d.version for d in metadata.distributions()}
for line in sys.stdin.read().splitlines():
    wanted = Requirement(line)
    if wanted.marker is None or wanted.marker.evaluate():
        version = installed.get(canonicalize_name(wanted.name))
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            print(wanted.name)
"""


def main(arguments: list[str]) -> int:
    """Brings `.venv`, or the folder named as the only argument, up to date. Returns the process's
    exit status."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        found = ".".join(map(str, sys.version_info[:3]))
        return fail(
            f"Python {_dotted(OLDEST)} to {_dotted(NEWEST)} is needed, this is {found}",
            "make PYTHON=/path/to/python3",
        )
    venv = Path(arguments[0]) if arguments else VENV
    try:
        bring_up_to_date(venv, LOCK)
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
    if not is_satisfied(venv, lock):
        install(venv, lock)
    shutil.copyfile(lock, venv / "requirements.lock")


def python_of(venv: Path) -> Path:
    """The environment's interpreter."""
    return venv / "bin" / "python"


def is_satisfied(venv: Path, lock: Path) -> bool:
    """Whether the environment works and holds every package that the lock wants on its Python, in
    the locked version."""
    if not python_of(venv).exists():
        return False
    missing = subprocess.run(
        [python_of(venv), "-c", LIST_MISSING],
        input="\n".join(locked(lock)),
        capture_output=True,
        text=True,
    )
    return missing.returncode == 0 and not missing.stdout


def locked(lock: Path) -> list[str]:
    """The requirements of the lock, with their markers and without their hashes."""
    lines = re.findall(r"^[A-Za-z0-9][^\\\n]*", lock.read_text(), re.MULTILINE)
    return [line.strip() for line in lines]


def install(venv: Path, lock: Path) -> None:
    """Creates the environment where it is missing or broken, and installs the lock into it."""
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"installing the packages of {lock.name} into {venv.name}, Python {version}", flush=True)
    if venv.is_symlink():
        venv.unlink()
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    uv = shutil.which("uv")
    if uv is not None:
        command = [uv, "pip", "install", "--python", str(python_of(venv))]
    else:
        command = [str(python_of(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    subprocess.run([*command, "--quiet", "--require-hashes", "-r", str(lock)], check=True)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def fail(what: str, todo: str) -> int:
    print(f"error: {what}\n  what to do: {todo}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
