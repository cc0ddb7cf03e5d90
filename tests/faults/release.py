"""The code of the release before this one, unpacked beside the checkout.

`previous-release` names it as a commit; CONTRIBUTING.md says when that line moves on. Its services
run on the packages of this checkout: what is compared is our code, schemas and messages.
"""

import io
import subprocess
import tempfile
import zipfile
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import CACHE, PROJECT

NAMED = Path(__file__).with_name("previous-release")
PARTS = ("contracts", "services")
"""What a service needs of a checkout."""


def previous_release(named: Path = NAMED) -> Path:
    """The folder with the code of the release that `named` names, unpacked at the first call.

    Raises StackError if the repository does not have that commit.
    """
    commit = named.read_text().strip()
    folder = CACHE / f"release-{commit}"
    if folder.exists():
        return folder
    archive = subprocess.run(
        ["git", "archive", "--format=zip", f"--prefix={folder.name}/", commit, *PARTS],
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    if archive.returncode != 0:
        raise StackError(
            f"git does not give the previous release, commit {commit}: "
            f"{archive.stderr.decode(errors='replace').strip()}",
            todo="if this is a shallow clone, `git fetch --unshallow`; else correct "
            f"{named.name} in tests/faults",
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
            files.extractall(scratch)
        # The rename makes the folder appear whole or not at all.
        (Path(scratch) / folder.name).rename(folder)
    return folder
