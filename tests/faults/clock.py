"""A service's clock is two hours off: the process starts anew with another time, and back."""

import asyncio
import random
import shutil
import subprocess
import tempfile
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

from contracts.message import sent_at_ms
from deploy.local.home import CACHE
from services.order.events import ReservationExpired
from services.order.recording import describe
from tests.faults.nemesis import Beaten, Breach, NotStruck, fault

# The gateway is left alone. With a clock two hours off it refuses every webhook as stale, and
# tokens as expired or not yet valid: it must, and Stripe sends its webhooks again.
SERVICES = ("order", "inventory", "payment")
PACKAGE = "libfaketime"


@fault(name="clock", row="Clock")
async def clock(beaten: Beaten, rng: random.Random) -> str:
    """Nobody's reservation may expire before its time, and orders must go on."""
    service, hours = rng.choice(SERVICES), rng.choice((-2, 2))
    seconds = rng.uniform(5.0, 10.0)
    library = await asyncio.to_thread(_library)
    if library is None:
        raise NotStruck(f"there is no {PACKAGE} here: apt-get install {PACKAGE}")
    waiting = await beaten.work_in_hand()
    try:
        await beaten.stop(service)
        env = {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"{hours:+d}h",
            # Waits and time-outs of the process itself go by this one, which no operator sets.
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        await beaten.start(service, env=env)
        off = await _seconds_off(beaten, service)
        await asyncio.sleep(seconds)
        await _nobody_expired_early(beaten)
    finally:
        if beaten.pid(service) is not None:
            await beaten.stop(service)
        await beaten.revive(service)
    await asyncio.sleep(2)
    await _nobody_expired_early(beaten)
    if abs(off - hours * 3600) > 60:
        raise NotStruck(f"the clock of {service} was {off:.0f} s off")
    return (
        f"the clock of {service} was {off:+.0f} s off for {seconds:.1f} s, with {waiting} orders "
        f"in hand; no reservation expired before its time"
    )


async def _seconds_off(beaten: Beaten, service: str) -> float:
    answer = await beaten.client.get(f"{beaten.stack.url(service)}/healthz")
    return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()


async def _nobody_expired_early(beaten: Beaten) -> None:
    """An order's id tells when the gateway made it, by a clock that is right."""
    lifetime = float(beaten.stack.environment_of("order").get("RESERVATION_SECONDS", 1800))
    _, reason = describe(ReservationExpired())
    expired = await beaten.rows("order", "SELECT id FROM orders WHERE reason = $1", reason)
    now = time.time()
    early = [row for row in expired if now - sent_at_ms(row["id"]) / 1000 < lifetime]
    if early:
        raise Breach(f"{len(early)} reservations expired before their {lifetime:.0f} s were over")


def _library() -> Path | None:
    """libfaketime, of the system or out of its package, which is unpacked into the cache."""
    kept = CACHE / PACKAGE
    found = next(iter(_find(Path("/usr/lib")) or _find(kept)), None)
    if found is not None or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        try:
            _run("apt-get", "download", PACKAGE, folder=scratch)
            (package,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch) / "unpacked"
            _run("dpkg-deb", "-x", str(package), str(unpacked), folder=scratch)
        except (subprocess.SubprocessError, ValueError):
            return None
        unpacked.rename(kept)
    return next(iter(_find(kept)), None)


def _find(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/faketime/libfaketime.so.1"))


def _run(*command: str, folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, timeout=60, capture_output=True)
