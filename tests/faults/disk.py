"""A server's disk is full: it fails loudly, and recovers when there is room.

The server's data moves to a small disk (tmpfs, which needs the right to mount) and back. A server
that ends for lack of room is started again, as a supervisor does once an operator has made some.
"""

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.faults.nemesis import SERVICES, Beaten, NotStruck, fault

ROW = "Disk full"
_ROOM = 96 * 2**20
_NO_ROOM = b"No space left on device"


@fault(name="disk-full-postgres", row=ROW, soak_only=True)
async def disk_full_postgres(beaten: Beaten, rng: random.Random) -> str:
    """Statements fail, or the whole server when it cannot write its log ahead."""
    return await _disk_full(beaten, "postgres", rng.uniform(1.0, 5.0))


@fault(name="disk-full-kafka", row=ROW, soak_only=True)
async def disk_full_kafka(beaten: Beaten, rng: random.Random) -> str:
    """A broker whose only disk fails stops."""
    return await _disk_full(beaten, "kafka", rng.uniform(1.0, 5.0))


async def _disk_full(beaten: Beaten, server: str, seconds: float) -> str:
    data = beaten.stack.home.path / server / "data"
    log = beaten.stack.log(server)
    async with _small_disk(beaten, server, data):
        waiting = await beaten.work_in_hand(within=45)
        seen = log.stat().st_size
        pid = beaten.pid(server)
        filler = data / "filler"
        try:

            async def complained() -> int:
                _fill(filler)
                return _complaints(log, seen)

            await beaten.until(
                complained, within=45, otherwise=f"{server} never needed more room", every=0.1
            )
            for _ in range(int(seconds * 5)):
                _fill(filler)
                await asyncio.sleep(0.2)
        finally:
            filler.unlink(missing_ok=True)
        complaints = _complaints(log, seen)
        ended = beaten.pid(server) is None
        await beaten.revive(server, *SERVICES)
    what = "ended and was started again" if ended else "went on by itself"
    return (
        f"{server} (pid {pid}) found no room {complaints} times with {waiting} orders in hand and "
        f"{what} when there was some"
    )


@asynccontextmanager
async def _small_disk(beaten: Beaten, server: str, data: Path) -> AsyncIterator[None]:
    """The server runs on a disk that has little room; afterwards it is where it was."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise NotStruck("only root may mount a small disk")
    try:
        await beaten.stop(server)
        await asyncio.to_thread(_move_away, data)
        try:
            await beaten.revive(server)
            yield
        finally:
            await beaten.stop(server)
            await asyncio.to_thread(_move_back, data)
    finally:
        await beaten.revive(server, *SERVICES)


def _move_away(data: Path) -> None:
    """Raises NotStruck, with everything as it was."""
    used = sum(file.lstat().st_blocks * 512 for file in data.rglob("*"))
    aside = data.with_name("aside")
    data.rename(aside)
    data.mkdir()
    options = f"size={used + _ROOM}"
    mounted = _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data))
    if mounted and _run("cp", "-a", f"{aside}/.", str(data)):
        shutil.rmtree(aside)
        return
    if mounted:
        _run("umount", str(data))
    data.rmdir()
    aside.rename(data)
    raise NotStruck("mounting is not allowed here" if not mounted else "the data does not fit")


def _move_back(data: Path) -> None:
    aside = data.with_name("aside")
    if not _run("cp", "-a", f"{data}/.", str(aside)) or not _run("umount", str(data)):
        raise RuntimeError(f"the data is on the small disk still: {data}")
    data.rmdir()
    aside.rename(data)


def _fill(filler: Path) -> None:
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(64 * 1024))


def _complaints(log: Path, since: int) -> int:
    with log.open("rb") as file:
        file.seek(since)
        return file.read().count(_NO_ROOM)


def _run(*command: str) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
