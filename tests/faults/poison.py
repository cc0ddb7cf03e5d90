"""Records that cannot be handled: parked with their reason, and nobody else suffers."""

import asyncio
import os
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

from contracts.inventory import ReserveStock, StockReserved
from contracts.order import OrderUpdated
from contracts.payment import RequestPayment
from deploy.local.home import PROJECT
from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.records import READERS, Raw, last_messages, produce

ROW = "Poison"

# A message that each service may hear twice under different ids without harm: it follows the
# poison under the same key, and must wait behind it.
HARMLESS = (ReserveStock, RequestPayment, StockReserved, OrderUpdated)

POISONS: dict[str, tuple[Callable[[Raw], Raw], str]] = {
    "bad JSON": (lambda raw: raw._replace(value=b'{"order_id": '), "Invalid JSON"),
    "not UTF-8": (lambda raw: raw._replace(value=b"\xff\xfe\xfd"), "Invalid JSON"),
    "a NUL": (lambda raw: raw._replace(value=b"\x00"), "Invalid JSON"),
    "oversize": (lambda raw: raw._replace(value=b'"%s"' % (b"x" * 900_000)), "an object"),
    "tombstone": (lambda raw: raw._replace(value=None), "no value"),
    "no key": (lambda raw: raw._replace(key=None), "no key"),
    "unknown type": (lambda raw: raw.with_header("ce_type", b"shop.no-such.v1"), "not accept"),
    "unknown version": (
        lambda raw: raw.with_header("ce_type", raw.type.encode().replace(b".v1", b".v99")),
        "not accept",
    ),
    "null header": (lambda raw: raw.with_header("ce_id", None), "ce_id is missing"),
    "header not UTF-8": (lambda raw: raw.with_header("ce_source", b"\xff"), "not UTF-8"),
    "NUL in a header": (lambda raw: raw.with_header("ce_type", b"a\x00b"), "holds a NUL"),
}
"""What is made of a good record, and what the reason of its parking must say."""

# Where the first message of an order writes a row: there a trigger can make its handler raise.
FIRST_ROWS = {
    "order": ("orders", "id", "true"),
    "inventory": ("reservation_orders", "order_id", "true"),
    "payment": ("payments", "order_id", "true"),
    # Version 0 is written by the request that places the order, which is no message.
    "gateway": ("orders", "order_id", "NEW.version > 0"),
}
"""Table, column of the order's id, and the condition under which a message writes the row."""


@fault(name="poison", row=ROW)
async def poison(beaten: Beaten, rng: random.Random) -> str:
    """One record of each kind, under the keys of real orders, each followed by a good message."""
    harmless = rng.choice(HARMLESS)
    kinds = rng.sample(sorted(POISONS), k=len(POISONS))
    topic = harmless.topic.name
    service = READERS[topic]
    good = await _one_per_key(beaten, topic, harmless.wire_type)
    if len(good) < len(kinds):
        raise NotStruck(f"only {len(good)} orders are on {topic}")
    pairs = [
        (kind, POISONS[kind][0](raw.decided_anew()), raw.decided_anew())
        for kind, raw in zip(kinds, good, strict=False)
    ]
    places = await produce(beaten, [record for _, *both in pairs for record in both])
    parked: list[int] = []
    try:
        for (kind, _, _), place in zip(pairs, places[::2], strict=True):
            row = await _found(beaten, service, topic, place)
            parked.append(row["id"])
            if row["state"] != "parked" or POISONS[kind][1] not in row["reason"]:
                raise Breach(f"{service} has {kind} as {row['state']}: {row['reason']}")
        for (kind, _, _), place in zip(pairs, places[1::2], strict=True):
            # The record without a key has nobody behind it.
            if kind != "no key":
                row = await _found(beaten, service, topic, place)
                if row["state"] != "waiting":
                    raise Breach(f"{service} has what came after {kind} as {row['state']}")
        await _replay_fails_again(beaten, service, parked[0])
    finally:
        if parked:
            names = [str(each) for each in parked]
            await _operate(beaten, service, "discard", *names, "--reason", "poison of a test")
    await _all_closed(beaten, service, [raw.key.decode() for raw in good if raw.key])
    return (
        f"{service} parked {len(pairs)} records ({', '.join(kinds)}), each with its reason; what "
        f"waited behind them was handled when they were discarded"
    )


@fault(name="handler-raises", row=ROW)
async def handler_raises(beaten: Beaten, rng: random.Random) -> str:
    """The first messages of some orders fail in the database until somebody mends it; those of
    all others go on. A replay brings everything back."""
    service = rng.choice(sorted(FIRST_ROWS))
    table, column, when = FIRST_ROWS[service]
    one_in, seconds = rng.randint(10, 40), rng.uniform(2.0, 4.0)
    await beaten.work_in_hand()
    try:
        await beaten.rows(service, _TRIGGER.format(column=column, one_in=one_in))
        await beaten.rows(
            service,
            f"CREATE TRIGGER beaten BEFORE INSERT ON {table}"
            f" FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION beaten()",
        )

        async def some() -> int:
            return len(await _beaten_rows(beaten, service))

        await beaten.until(some, within=20, otherwise="no message failed", every=0.2)
        await asyncio.sleep(seconds)
    finally:
        await beaten.rows(service, "DROP FUNCTION IF EXISTS beaten CASCADE")
    # What failed once when the trigger went will succeed: only what is parked by now needs help.
    await asyncio.sleep(1)
    parked = await _beaten_rows(beaten, service)
    await _operate(beaten, service, "replay", *(str(row["id"]) for row in parked))
    waited = await _all_closed(beaten, service, [row["key"] for row in parked])
    return (
        f"{service} parked {len(parked)} messages whose handler raised, {waited - len(parked)} "
        f"waited behind them; all were handled after a replay"
    )


_TRIGGER = """
CREATE FUNCTION beaten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF hashtext(NEW.{column}::text) % {one_in} = 0 THEN
        RAISE EXCEPTION 'beaten: this order cannot be handled';
    END IF;
    RETURN NEW;
END $$
"""


async def _beaten_rows(beaten: Beaten, service: str) -> list[Any]:
    return await beaten.rows(
        service,
        "SELECT id, key FROM parked_messages WHERE state = 'parked' AND reason LIKE '%beaten:%'",
    )


async def _one_per_key(beaten: Beaten, topic: str, wire_type: str) -> list[Raw]:
    by_key = {
        raw.key: raw for raw in await last_messages(beaten, topic, 600) if raw.type == wire_type
    }
    return list(by_key.values())


async def _found(beaten: Beaten, service: str, topic: str, place: Any) -> Any:
    """The parked row of a record, once there is one."""
    found: list[Any] = []

    async def look() -> int:
        found[:] = await beaten.rows(
            service,
            """
            SELECT id, state, reason FROM parked_messages
             WHERE source_topic = $1 AND source_partition = $2 AND source_offset = $3
            """,
            topic,
            place.partition,
            place.offset,
        )
        return len(found)

    await beaten.until(
        look, within=60, otherwise=f"{service} did not park {place}", error=Breach, every=0.2
    )
    return found[0]


async def _replay_fails_again(beaten: Beaten, service: str, parked_id: int) -> None:
    """A replay tells what really came of it."""
    await _operate(beaten, service, "replay", str(parked_id))

    async def again() -> int:
        (row,) = await beaten.rows(
            service, "SELECT state, attempts FROM parked_messages WHERE id = $1", parked_id
        )
        return bool(row["state"] == "parked" and row["attempts"] > 1)

    await beaten.until(
        again, within=30, otherwise="a hopeless replay was not parked again", error=Breach
    )


async def _all_closed(beaten: Beaten, service: str, keys: Sequence[str]) -> int:
    """Wait until nothing is parked under these keys any more; how many were handled late."""

    async def closed() -> int:
        return not await beaten.rows(
            service,
            "SELECT 1 FROM parked_messages"
            " WHERE key = ANY($1) AND state IN ('parked', 'waiting', 'replay')",
            keys,
        )

    await beaten.until(
        closed, within=60, otherwise=f"{service} still has parked messages", error=Breach, every=0.3
    )
    return len(
        await beaten.rows(
            service,
            "SELECT 1 FROM parked_messages WHERE key = ANY($1) AND state = 'replayed'",
            keys,
        )
    )


async def _operate(beaten: Beaten, service: str, *arguments: str) -> None:
    """Use the tool that operators use."""
    tool = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.kit.parked", *arguments),
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": beaten.stack.postgres[service]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await tool.communicate()
    if tool.returncode != 0:
        raise Breach(f"parked {' '.join(arguments)} failed: {said.decode()}")
