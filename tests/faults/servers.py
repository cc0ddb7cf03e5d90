"""Kafka and PostgreSQL stop, die, and lose their connections; pools and producers recover."""

import asyncio
import random
import signal

from tests.faults.nemesis import SERVICES, Beaten, NotStruck, fault

KAFKA = "Broker restart, broker kill -9"
POSTGRES = "PostgreSQL restart, immediate stop, severed connections"


@fault(name="kafka-restart", row=KAFKA)
async def kafka_restart(beaten: Beaten, rng: random.Random) -> str:
    """A clean stop and a start; of several brokers one."""
    broker, away = rng.choice(beaten.stack.brokers), rng.uniform(0.0, 2.0)
    waiting = await beaten.work_in_hand()
    pid = beaten.pid(broker)
    try:
        await beaten.stop(broker)
        await asyncio.sleep(away)
    finally:
        await beaten.revive(broker)
    return f"{broker} (pid {pid}) stopped with {waiting} orders in hand, now {beaten.pid(broker)}"


@fault(name="kafka-kill", row=KAFKA)
async def kafka_kill(beaten: Beaten, rng: random.Random) -> str:
    """Of several brokers one; the others elect new leaders meanwhile."""
    broker, dead = rng.choice(beaten.stack.brokers), rng.uniform(0.0, 5.0)
    waiting = await beaten.work_in_hand()
    try:
        died = await beaten.kill(broker)
        await asyncio.sleep(dead)
    finally:
        await beaten.revive(broker)
    return f"{died} with {waiting} orders in hand, and was away for {dead:.1f} s"


@fault(name="kafka-rolling", row=KAFKA, soak_only=True)
async def kafka_rolling(beaten: Beaten, rng: random.Random) -> str:
    """Each broker of a cluster in turn, in any order and either way: the shop must go on."""
    brokers = rng.sample(beaten.stack.brokers, k=len(beaten.stack.brokers))
    cleanly = [rng.random() < 0.5 for _ in brokers]
    if len(brokers) < 3:
        raise NotStruck("one broker has nobody to take over; the soak has three")
    evidence = []
    for broker, clean in zip(brokers, cleanly, strict=True):
        waiting = await beaten.work_in_hand()
        try:
            if clean:
                await beaten.stop(broker)
                died = f"{broker} stopped"
            else:
                died = await beaten.kill(broker)
            # Until the others are seen to go on: one order at least is decided without it.
            await _decided(beaten)
        finally:
            await beaten.revive(broker)
        evidence.append(f"{died} with {waiting} orders in hand, one was decided without it")
    return "; ".join(evidence)


async def _decided(beaten: Beaten) -> None:
    (now,) = await beaten.rows("order", "SELECT clock_timestamp() AS time")

    async def some() -> int:
        (row,) = await beaten.rows(
            "order",
            "SELECT count(*) FROM orders WHERE created_at > $1 AND version > 2",
            now["time"],
        )
        return int(row["count"])

    await beaten.until(some, within=45, otherwise="no new order was decided meanwhile", every=0.3)


@fault(name="postgres-restart", row=POSTGRES)
async def postgres_restart(beaten: Beaten, rng: random.Random) -> str:
    """A fast shutdown, which rolls back open transactions, and a start."""
    away = rng.uniform(0.0, 2.0)
    waiting = await beaten.work_in_hand()
    pid = beaten.pid("postgres")
    try:
        await beaten.stop("postgres")
        await asyncio.sleep(away)
    finally:
        await beaten.revive("postgres")
    await beaten.revive(*SERVICES)
    return f"postgres (pid {pid}) stopped with {waiting} orders in hand, pools recovered"


@fault(name="postgres-immediate", row=POSTGRES)
async def postgres_immediate(beaten: Beaten, rng: random.Random) -> str:
    """No shutdown at all: recovery from the write-ahead log; or kill -9 of the server."""
    how = rng.choice((signal.SIGQUIT, signal.SIGKILL))
    away = rng.uniform(0.0, 3.0)
    waiting = await beaten.work_in_hand()
    try:
        died = await beaten.kill("postgres", how)
        await asyncio.sleep(away)
    finally:
        await beaten.revive("postgres")
    await beaten.revive(*SERVICES)
    return f"{died} after {how.name} with {waiting} orders in hand, pools recovered"


@fault(name="postgres-severed", row=POSTGRES)
async def postgres_severed(beaten: Beaten, rng: random.Random) -> str:
    """The server ends a service's connections, several times, whatever they are doing."""
    service = rng.choice(SERVICES)
    pauses = [rng.uniform(0.05, 0.8) for _ in range(8)]
    waiting = await beaten.work_in_hand()
    severed = busy = 0
    for pause in pauses:
        ended = await beaten.admin(
            """
            WITH chosen AS MATERIALIZED (
                 SELECT pid, state FROM pg_stat_activity WHERE usename = $1)
            SELECT state <> 'idle' AS busy, pg_terminate_backend(pid) FROM chosen
            """,
            await _role(beaten, service),
        )
        severed += len(ended)
        busy += sum(bool(row["busy"]) for row in ended)
        await asyncio.sleep(pause)
    if not busy:
        raise NotStruck(f"{severed} connections of {service} were severed, all idle")
    await beaten.revive(service)
    return (
        f"{severed} connections of {service} severed, {busy} in a statement or transaction, "
        f"with {waiting} orders in hand"
    )


@fault(name="postgres-lost-commit", row=POSTGRES)
async def postgres_lost_commit(beaten: Beaten, rng: random.Random) -> str:
    """The server commits, and its answer is lost with the connection: nobody knows what came of
    the transaction, and the batch comes again."""
    service = rng.choice(SERVICES)
    way = f"{service}-postgres"
    holds = [rng.uniform(0.1, 0.4) for _ in range(30)]
    role = await _role(beaten, service)
    for attempt, hold in enumerate(holds, 1):
        await beaten.work_in_hand()
        try:
            await beaten.network.mute(way)
            (muted,) = await beaten.admin("SELECT clock_timestamp() AS time")
            await asyncio.sleep(hold)
            lost = await beaten.admin(
                """
                SELECT pid FROM pg_stat_activity
                 WHERE usename = $1 AND state = 'idle' AND query ILIKE 'COMMIT%'
                   AND state_change > $2
                """,
                role,
                muted["time"],
            )
            await beaten.network.reset(way)
        finally:
            await beaten.network.heal(way)
        await beaten.revive(service)
        if lost:
            return f"{service} lost the answers of {len(lost)} COMMITs, at attempt {attempt}"
    raise NotStruck(f"no COMMIT of {service} was under way in {len(holds)} attempts")


async def _role(beaten: Beaten, service: str) -> str:
    (row,) = await beaten.rows(service, "SELECT current_user AS name")
    return str(row["name"])
