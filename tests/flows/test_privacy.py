"""Personal data travels on one topic. Canaries are planted, then looked for everywhere else."""

from uuid import uuid4

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer

from contracts.topics import CUSTOMER_CONTACTS, TOPICS
from deploy.local.shop import Shop
from deploy.local.stack import LocalStack
from tests.flows.conftest import becomes

CANARY = f"canary{uuid4().hex[:10]}"


async def test_canaries_are_on_the_contacts_topic_and_nowhere_else(
    stack: LocalStack, staff: Shop, client: httpx.AsyncClient
) -> None:
    product = await staff.add_product("Print", price=12000, stock=5)
    token = stack.token("privacy")
    answer = await client.post(
        f"{stack.gateway}/v1/orders",
        json={
            "items": [{"product_id": product, "quantity": 1}],
            "email": f"{CANARY}@example.com",
            "shipping_address": {
                "name": CANARY,
                "line1": CANARY,
                "city": CANARY,
                "postal_code": "8001",
                "country": "ZA",
            },
        },
        headers={
            "Authorization": f"Bearer {token}",
            "Idempotency-Key": str(uuid4()),
            "Prefer": "wait=20",
        },
    )
    assert answer.status_code == 201, answer.text
    order, anna = answer.json(), staff.as_(token)
    await anna.pay(order, "pm_card_visa")
    await becomes(anna, order, status="confirmed")

    found = await topics_with(stack, CANARY)
    assert found == {CUSTOMER_CONTACTS.name}
    for service in stack.postgres:
        assert await tables_with(stack.postgres[service], CANARY) == [], service
    for log in stack.log("order").parent.glob("*.log"):
        assert CANARY not in log.read_text(errors="replace"), log.name


async def topics_with(stack: LocalStack, canary: str) -> set[str]:
    consumer = AIOKafkaConsumer(
        *(topic.name for topic in TOPICS),
        bootstrap_servers=stack.kafka,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    found = set()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    headers = b"".join(value or b"" for _, value in record.headers)
                    if canary.encode() in (record.value or b"") + headers + (record.key or b""):
                        found.add(record.topic)
    finally:
        await consumer.stop()
    return found


async def tables_with(dsn: str, canary: str) -> list[str]:
    """Names of tables that hold the text. The outbox is empty again by now, or it is found, too."""
    db = await asyncpg.connect(dsn)
    tables = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = [
        name
        for (name,) in tables
        if await db.fetchval(
            f'SELECT EXISTS (SELECT FROM "{name}" AS t WHERE t::text ILIKE $1)',
            f"%{canary}%",
        )
    ]
    await db.close()
    return found
