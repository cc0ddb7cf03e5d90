"""A backup under load, the loss of all databases, and the restore, judged: `make compose-restore`.

What was acknowledged after the backup must be there again, too: placed, paid and told as before.
An order may end otherwise where its fate hung on who came first, on the last piece of a product or
on a cancellation beside a payment. If Stripe then tells of money that no payment is there for, that
is parked for a person, and must be so; whatever else differs is a breach.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import httpx
import typer

from deploy.compose.system import OPENED, ComposeSystem
from deploy.local.home import PROJECT
from deploy.verify.databases import fetch
from deploy.verify.evidence import Evidence
from deploy.verify.rest import System
from deploy.verify.told import Told
from tests.faults.__main__ import SHOWN
from tests.faults.asking import browsers
from tests.faults.driver import Load
from tests.faults.trial import IMPATIENT, Judgement, compare, everything_ends, products
from tests.looking import TO_REST


async def run(
    system: ComposeSystem, backup: Path, *, rate: float, seconds: float, seed: int
) -> tuple[Judgement, list[str]]:
    """Offer orders, copy the databases in their midst, and once all have their end, put the copy in
    the place of what there is. Returns the judgement, and the breaches that nobody is told of."""
    judgement = Judgement()
    parts = system.parts

    async def timed(script: str) -> str:
        began = time.monotonic()
        said = await asyncio.to_thread(system.script, script, str(backup))
        judgement.seconds[script] = time.monotonic() - began
        return said

    async with (
        httpx.AsyncClient(trust_env=False, timeout=30) as client,
        browsers(TO_REST) as ask,
    ):
        load = Load(system, ask, seed, Told(supply=await products(system, client)))
        stop = asyncio.Event()
        offering = asyncio.create_task(load.offer(rate, stop))
        await asyncio.sleep(seconds)
        before = len(load.stories)
        await timed("backup.sh")
        await asyncio.sleep(seconds)
        stop.set()
        await offering
        print(f"{before} orders, backup, {len(load.stories) - before} orders", flush=True)
        await everything_ends(parts, TO_REST)
        said = await timed("restore.sh")
        print(said.strip(), flush=True)
        await everything_ends(parts, TO_REST)
        evidence = await compare(parts, load, judgement, TO_REST)
        left = await _left_to_people(parts, evidence)
    print(f"{len(left)} orders without a payment that Stripe tells of: parked for a person")
    return judgement, [
        breach
        for breach in judgement.wrong
        if not any(name in breach for names in left.values() for name in names)
    ]


async def _left_to_people(parts: System, evidence: Evidence) -> dict[str, set[str]]:
    """By order, what breaches call what is parked of it. Only cancelled ones are left to people."""
    left: dict[str, set[str]] = {}
    for row in await fetch(
        parts.postgres["payment"],
        """
        SELECT key, convert_from(payload, 'utf8')::json ->> 'event_id' AS event
          FROM parked_messages
         WHERE state IN ('parked', 'waiting') AND source_topic = 'stripe.webhooks'
        """,
    ):
        order = evidence.orders.get(row["key"])
        if order and order["status"] == "cancelled" and row["key"] not in evidence.payments:
            left.setdefault(row["key"], {row["key"], "waits behind"}).add(row["event"])
    return left


def main(
    rate: Annotated[float, typer.Option(help="Orders offered per second.")] = 5,
    seconds: Annotated[float, typer.Option(help="Before the backup, and again after it.")] = 10,
    seed: Annotated[int, typer.Option(help="What customers do.")] = 1,
) -> None:
    """Exits with 1 on a breach of a promise."""
    system = ComposeSystem(
        "orderflow-restored",
        # Longer than a restore takes: whoever has not paid by then is taken for one who will not.
        IMPATIENT | {"RESERVATION_SECONDS": "60"},
        overrides=(OPENED, PROJECT / "tests" / "faults" / "impatient.yml"),
    )
    system.remove()
    try:
        system.up()
        with tempfile.TemporaryDirectory() as folder:
            backup = Path(folder) / "backup.tar.gz"
            judgement, wrong = asyncio.run(
                run(system, backup, rate=rate, seconds=seconds, seed=seed)
            )
    finally:
        system.remove()
    for breach in wrong[:SHOWN]:
        print(f"BREACH {breach}")
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in judgement.seconds.items())
    print(f"{judgement.orders} orders; {took}; {len(judgement.findings)} promises looked at")
    print(f"{len(wrong)} breaches: {'FAILED' if wrong else 'passed'}")
    raise typer.Exit(1 if wrong else 0)


if __name__ == "__main__":
    typer.run(main)
