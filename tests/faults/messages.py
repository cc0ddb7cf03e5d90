"""Messages come twice, late, out of order, on another topic, or are decided twice."""

import asyncio
import random

from contracts import topics
from contracts.inventory import ProductCommand
from contracts.message import REGISTRY
from tests.faults.nemesis import Beaten, Breach, NotStruck, fault
from tests.faults.records import READERS, Raw, last_messages, produce, unknown_to

ROW = "Duplicates, reorderings, delays"

# Who waits for an answer asks again, and is answered again: a new id, nothing new. What people ask
# (order.commands) is left out: to ask for something twice may be to want it twice.
ASKED_AGAIN = (
    topics.INVENTORY_COMMANDS.name,
    topics.PAYMENT_COMMANDS.name,
    topics.INVENTORY_EVENTS.name,
    topics.PAYMENT_EVENTS.name,
    topics.ORDER_EVENTS.name,
    topics.STRIPE_WEBHOOKS.name,
)
# Both have the same reader, which must not care where a message came from.
SWAPPED = {
    topics.INVENTORY_EVENTS.name: topics.PAYMENT_EVENTS.name,
    topics.PAYMENT_EVENTS.name: topics.INVENTORY_EVENTS.name,
}


@fault(name="duplicates", row=ROW)
async def duplicates(beaten: Beaten, rng: random.Random) -> str:
    """The same bytes again, in another order, on every topic that somebody reads."""
    counts = {topic: rng.randint(20, 120) for topic in READERS}
    shuffle = random.Random(rng.random())
    await beaten.work_in_hand()
    before = {service: await _skipped(beaten, service) for service in set(READERS.values())}
    copies: dict[str, list[Raw]] = {service: [] for service in before}
    for topic, count in counts.items():
        copies[READERS[topic]] += await last_messages(beaten, topic, count)
    records = [raw for each in copies.values() for raw in each]
    shuffle.shuffle(records)
    await produce(beaten, records)
    evidence = []
    for service, sent in copies.items():

        async def skipped(service: str = service, count: int = len(sent)) -> int:
            return await _skipped(beaten, service) - before[service] >= count

        await beaten.until(
            skipped, within=60, otherwise=f"{service} did not skip {len(sent)}", every=0.3
        )
        evidence.append(f"{service} skipped {len(sent)}")
    return f"{len(records)} records came again: {', '.join(sorted(evidence))}"


async def _skipped(beaten: Beaten, service: str) -> int:
    return int(await beaten.metric(service, "orderflow_messages_duplicate_total"))


@fault(name="asked-again", row=ROW)
async def asked_again(beaten: Beaten, rng: random.Random) -> str:
    """Commands and answers under new ids, seconds late, in any order: business keys must tell."""
    counts = {topic: rng.randint(20, 80) for topic in ASKED_AGAIN}
    late, swaps = rng.uniform(0.0, 6.0), rng.random() < 0.5
    shuffle = random.Random(rng.random())
    await beaten.work_in_hand()
    records = [
        raw.decided_anew()
        for topic, count in counts.items()
        for raw in await last_messages(beaten, topic, count)
        if not issubclass(REGISTRY[raw.type], ProductCommand)
    ]
    if swaps:
        records = [raw._replace(topic=SWAPPED.get(raw.topic, raw.topic)) for raw in records]
    shuffle.shuffle(records)
    await asyncio.sleep(late)
    await produce(beaten, records)
    for service in set(READERS.values()):
        await _taken(beaten, service, [raw for raw in records if READERS[raw.topic] == service])
    if not records:
        raise NotStruck("there were no messages yet")
    where = ", on each other's topics" if swaps else ""
    return f"{len(records)} messages came again under new ids, {late:.1f} s late{where}"


async def _taken(beaten: Beaten, service: str, records: list[Raw]) -> None:
    """Each had its place in the inbox, and none needs a person."""
    ids = [raw.id for raw in records]

    async def all_taken() -> int:
        return not await unknown_to(beaten, service, ids)

    await beaten.until(
        all_taken, within=60, otherwise=f"{service} did not take all repeats", every=0.3
    )
    parked = await beaten.rows(
        service, "SELECT reason FROM parked_messages WHERE message_id = ANY($1)", ids
    )
    if parked:
        reasons = {row["reason"] for row in parked}
        raise Breach(f"{service} parked {len(parked)} repeated messages: {sorted(reasons)}")
