"""Personal data travels on one topic and is kept in one table. Canaries are planted, then looked
for everywhere."""

from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest

from contracts.topics import CUSTOMER_CONTACTS, TOPICS
from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.conftest import at_rest, becomes
from tests.flows.people import Dashboard, Person
from tests.flows.topics import records
from tests.kit.conftest import eventually
from tests.looking import rows

FIELDS = ("email", "name", "line1", "line2", "city", "postal_code", "country")


@pytest.fixture(scope="module")
def canary() -> str:
    return f"canary{uuid4().hex[:10]}"


def personal_data(canary: str) -> Json:
    address = {name: f"{canary} {name}" for name in FIELDS if name not in ("email", "postal_code")}
    return {
        "email": f"{canary}.email@example.com",
        "shipping_address": address | {"postal_code": canary},
    }


@pytest.fixture
async def flock(
    stack: LocalStack, anna: Person, staff: Person, product: str, canary: str, stripe: Dashboard
) -> None:
    """Orders with personal data in every way to an end, and one that is not valid."""
    line = {"product_id": product, "quantity": 1}
    person: Any = personal_data(canary)

    async def placed() -> Json:
        answer = await anna.check_out([line], **person)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    paid, declined, cancelled = [await placed() for _ in range(3)]
    await anna.pay(paid, "pm_card_visa")
    await anna.pay(declined, "pm_card_chargeDeclined")
    await anna.cancel(cancelled["order_id"], "changed my mind")
    await becomes(anna, paid, status="confirmed")
    await staff.refund(paid)
    await becomes(anna, paid, status="refunded")
    for order in (declined, cancelled):
        await becomes(anna, order, status="cancelled")
    for order in (paid, declined, cancelled):
        await at_rest(stack, order)
    too_many = await anna.check_out([{**line, "quantity": 1000}], **person)
    not_valid = await anna.check_out([line], **person | {"email": f"{canary} at example.com"})
    no_key = await anna.ask("POST", "/v1/orders", {"items": [line], **person})
    assert [a.status_code for a in (too_many, not_valid, no_key)] == [400, 422, 400]
    for answer in (too_many, not_valid, no_key):
        assert canary not in answer.text
    for service in stack.postgres:
        await eventually(partial(outbox, stack, service), lambda left: left == 0)


@pytest.mark.usefixtures("flock")
async def test_canaries_are_on_the_contacts_topic_and_in_contacts_and_nowhere_else(
    stack: LocalStack, client: httpx.AsyncClient, canary: str
) -> None:
    found = await topics_with(stack, canary)
    assert found.pop(CUSTOMER_CONTACTS.name, set()) == set(FIELDS)
    assert not found
    for service in stack.postgres:
        kept = ["contacts"] if service == "notification" else []
        assert await tables_with(stack, service, canary) == kept, service
    columns = await rows(
        stack, "notification", "SELECT * FROM contacts AS c WHERE c.email ~ $1", canary
    )
    assert {name for row in columns for name, value in row.items() if canary in str(value)} == {
        "email"
    }
    logs = list(stack.log("order").parent.glob("*.log"))
    assert {log.stem for log in logs} >= {*stack.postgres, "stripe", "smtp", "kafka"}
    for log in logs:
        assert canary not in log.read_text(errors="replace"), log.name
    for service in stack.postgres:
        assert canary not in (await client.get(f"{stack.url(service)}/metrics")).text, service


async def outbox(stack: LocalStack, service: str) -> int:
    (row,) = await rows(stack, service, "SELECT count(*) FROM outbox")
    return int(row[0])


async def topics_with(stack: LocalStack, canary: str) -> dict[str, set[str]]:
    """The topics that hold the text anywhere in a record; the fields of an address that do."""
    found: dict[str, set[str]] = {}
    for record in await records(stack, *TOPICS):
        headers = b"".join(value or b"" for _, value in record.headers)
        text = ((record.key or b"") + headers + (record.value or b"")).decode(errors="replace")
        if canary in text:
            fields = {name for name in FIELDS if f"{canary} {name}" in text}
            fields |= {"email"} if f"{canary}.email" in text else set()
            fields |= {"postal_code"} if f'"{canary}"' in text else set()
            found.setdefault(record.topic, set()).update(fields)
    return found


async def tables_with(stack: LocalStack, service: str, canary: str) -> list[str]:
    """The tables, partitions included, that hold the text in any column, also in one of bytes."""
    tables = await rows(
        stack,
        service,
        """
        SELECT c.oid::regclass::text FROM pg_class c
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
        """,
    )
    return [
        name
        for (name,) in tables
        if await rows(
            stack,
            service,
            f"SELECT 1 FROM {name} AS t WHERE t::text ILIKE ANY($1) LIMIT 1",
            [f"%{canary}%", f"%{canary.encode().hex()}%"],
        )
    ]
