"""The running system, who acts on it, and how to wait for what becomes of it."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.people import Dashboard, Person
from tests.kit.conftest import eventually
from tests.looking import rows

PRICE = 12000
STOCK = 10
RACE_LOST = "Product out of stock. Another customer may have purchased it. Please try again."
PATIENCE = 20
"""Seconds. All of this takes a fraction of one; an overloaded machine takes more."""


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=40) as opened:
        yield opened


@pytest.fixture
def staff(stack: LocalStack, client: httpx.AsyncClient) -> Person:
    return Person(
        client,
        gateway=stack.gateway,
        stripe=stack.stripe,
        token=stack.token(f"staff-{uuid4().hex[:6]}", "admin"),
    )


@pytest.fixture
def anna(stack: LocalStack, staff: Person) -> Person:
    """A customer whom nobody has seen before."""
    return staff.as_(stack.token(f"anna-{uuid4().hex[:6]}"))


@pytest.fixture
async def product(staff: Person) -> str:
    return await staff.add_product("Print", price=PRICE, stock=STOCK)


@pytest.fixture
async def stripe(stack: LocalStack, client: httpx.AsyncClient) -> AsyncIterator[Dashboard]:
    """Without faults when the test begins, and afterwards."""
    dashboard = Dashboard(stack, client)
    yield dashboard
    await dashboard.control("DELETE", "faults")
    await dashboard.release()


@pytest.fixture(scope="module")
async def nobody_stumbles(stack: LocalStack) -> AsyncIterator[None]:
    """For a module of things that cannot be: no message is parked for them, no log has an error.

    Afterwards one more order goes its whole way, behind whatever was let through.
    """
    logs = {log: log.stat().st_size for log in stack.log("order").parent.glob("*.log")}
    parked = await parked_messages(stack)
    yield
    async with httpx.AsyncClient(trust_env=False, timeout=40) as client:
        admin = stack.token("bad-input", "admin")
        staff = Person(client, gateway=stack.gateway, stripe=stack.stripe, token=admin)
        await paid(staff, await staff.add_product("Print", price=PRICE, stock=1))
    assert await parked_messages(stack) == parked
    for log, size in logs.items():
        assert "Traceback" not in log.read_text(errors="replace")[size:], log.name


def refused(answer: httpx.Response, status: int) -> list[str]:
    """The messages of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return [error["message"] for error in problem["errors"]]


async def ordered(person: Person, product: str, quantity: int = 1) -> Json:
    placed = await person.place(product, quantity)
    assert placed.order is not None, placed.messages
    return placed.order


async def paid(person: Person, product: str, quantity: int = 1) -> Json:
    """An order that is confirmed by its payment."""
    order = await ordered(person, product, quantity)
    assert await person.pay(order, "pm_card_visa")
    return await becomes(person, order, status="confirmed", payment_status="paid")


async def becomes(person: Person, order: Json, **expected: Any) -> Json:
    """The order once these of its fields are so; `payment.status` is `stripe_status` here."""

    def of_interest(seen: Json) -> Json:
        flat = seen | {"stripe_status": (seen["payment"] or {}).get("status")}
        return {name: flat[name] for name in expected}

    seen = await person.order_when(
        order["order_id"], lambda seen: of_interest(seen) == expected, PATIENCE
    )
    assert of_interest(seen) == expected
    return seen


async def stock(person: Person, product: str) -> int:
    return int((await person.product(product))["stock_quantity"])


async def stock_becomes(person: Person, product: str, expected: int) -> None:
    """The catalogue shows it; it follows inventory a moment later."""
    await eventually(lambda: stock(person, product), lambda seen: bool(seen == expected))


async def stock_in_database(stack: LocalStack, product: str) -> int:
    query = "SELECT stock_quantity FROM products WHERE id = $1"
    (row,) = await rows(stack, "inventory", query, UUID(product))
    return int(row[0])


async def at_rest(stack: LocalStack, order: Json) -> None:
    """Nobody owes the order an answer any more: what is seen now stays so."""

    async def messages_on_their_way() -> list[Any]:
        return await rows(
            stack,
            "order",
            "SELECT saga_state FROM orders WHERE id = $1 AND deadline_at IS NOT NULL",
            UUID(order["order_id"]),
        )

    await eventually(messages_on_their_way, lambda found: not found)


async def movements(stack: LocalStack, order: Json) -> list[tuple[str, int]]:
    """What the stock ledger says of an order: (action, quantity), oldest first."""
    found = await rows(
        stack,
        "inventory",
        "SELECT action, quantity FROM stock_movements WHERE order_id = $1 ORDER BY id",
        UUID(order["order_id"]),
    )
    return [(row["action"], row["quantity"]) for row in found]


async def parked_messages(stack: LocalStack) -> dict[str, int]:
    found = {}
    for service in stack.postgres:
        (row,) = await rows(stack, service, "SELECT count(*) FROM parked_messages")
        found[service] = row[0]
    return found
