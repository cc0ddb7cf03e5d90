"""Kafka or PostgreSQL dies under the whole system: what is told meanwhile, what comes of it."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
import stripe

from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.crash.conftest import Customers
from tests.crash.test_crash_points import dies
from tests.looking import assert_promises


@pytest.fixture
def mortal(beaten: LocalStack) -> Iterator[LocalStack]:
    """A system whose servers a test may kill; what a failed test left dead is started again."""
    servers = ("kafka", "postgres")
    yield beaten
    for name in servers:
        if beaten.process(name).pid is None:
            beaten.start(name)


async def post_order(customers: Customers, name: str, prefer: str = "") -> httpx.Response:
    """One try to order one piece, under a key that is the customer's name."""
    return await customers.client.post(
        f"{customers.stack.gateway}/v1/orders",
        json={
            "items": [{"product_id": customers.product, "quantity": 1}],
            "email": "a@example.com",
        },
        headers={
            "Authorization": f"Bearer {customers.stack.token(name)}",
            "Idempotency-Key": name,
            **({"Prefer": prefer} if prefer else {}),
        },
    )


async def post_webhook(customers: Customers) -> httpx.Response:
    """A signed event of a type that the shop only keeps."""
    event = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "payment_method.attached",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "pm_1", "object": "payment_method"}},
    }
    content = json.dumps(event)
    signature = stripe.WebhookSignature.generate_signature_header(
        content, customers.stack.webhook_secret, int(time.time())
    )
    return await customers.client.post(
        f"{customers.stack.gateway}/v1/stripe/webhook",
        content=content,
        headers={"Stripe-Signature": signature},
    )


async def test_orders_placed_while_kafka_is_dead_go_through_when_it_is_back(
    mortal: LocalStack, customers: Customers
) -> None:
    """Also a payment made meanwhile: Stripe is told 503 and sends its event again."""
    before = f"before-{uuid4().hex[:8]}"
    unpaid: Json = (await post_order(customers, before, "wait=20")).raise_for_status().json()
    mortal.kill("kafka")

    names = [f"meanwhile-{uuid4().hex[:8]}" for _ in range(5)]
    answers = await asyncio.gather(*(post_order(customers, name) for name in names))
    assert [answer.status_code for answer in answers] == [202] * 5
    refused = await post_webhook(customers)
    assert refused.status_code == 503, refused.text
    assert refused.headers["Retry-After"]
    await customers.shop(before).pay(unpaid, "pm_card_visa")

    await asyncio.to_thread(mortal.start, "kafka")
    for name, answer in zip(names, answers, strict=True):
        placed = answer.json()["order_id"]
        shop = customers.shop(name)
        order = await shop.order_when(placed, lambda seen: seen["payment"] is not None, 60)
        assert order["payment"], f"{placed} never got to its payment: {order['status']}"
        await shop.pay(order, "pm_card_visa")
    for name, placed in [
        (before, unpaid["order_id"]),
        *((name, answer.json()["order_id"]) for name, answer in zip(names, answers, strict=True)),
    ]:
        order = await customers.shop(name).order_when(
            placed, lambda seen: seen["status"] == "confirmed", 60
        )
        assert (order["status"], order["payment_status"]) == ("confirmed", "paid")
    assert (await post_webhook(customers)).status_code == 200
    told = {unpaid["order_id"], *(answer.json()["order_id"] for answer in answers)}
    await assert_promises(mortal, told)


async def test_kafka_killed_under_load_loses_and_doubles_nothing(
    mortal: LocalStack, customers: Customers
) -> None:
    coming = asyncio.create_task(customers.come(40, pause=0.1, seed=501))
    await asyncio.sleep(1.5)
    assert customers.acknowledged
    await asyncio.to_thread(mortal.kill, "kafka")
    assert not coming.done()
    await asyncio.sleep(1.0)
    await asyncio.to_thread(mortal.start, "kafka")
    await coming
    assert len(customers.acknowledged) == 40
    await assert_promises(mortal, customers.acknowledged)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate", "kill"])
async def test_postgresql_away_is_said_so_and_mends_itself(
    mortal: LocalStack, customers: Customers, how: signal.Signals
) -> None:
    """It dies under load; every service finds back by itself, none is started again."""
    witness = f"witness-{uuid4().hex[:8]}"
    placed = (await post_order(customers, witness, "wait=20")).raise_for_status().json()
    pids = {name: mortal.process(name).pid for name in ("order", "inventory", "payment", "gateway")}
    coming = asyncio.create_task(customers.come(30, pause=0.1, seed=600 + how))
    await asyncio.sleep(1.0)
    await asyncio.to_thread(mortal.kill, "postgres", how)
    await dies(mortal, "postgres")
    assert not coming.done()

    order_path = f"{mortal.gateway}/v1/orders/{placed['order_id']}"
    bearer = {"Authorization": f"Bearer {mortal.token(witness)}"}
    for refused in (
        await customers.client.get(order_path, headers=bearer),
        await customers.client.get(f"{mortal.gateway}/v1/orders", headers=bearer),
        await customers.client.get(f"{mortal.gateway}/v1/products"),
        await post_order(customers, f"{witness}-2"),
        await post_order(customers, f"{witness}-2", "wait=1"),
    ):
        assert refused.status_code == 503, (refused.request.url, refused.text)
        assert int(refused.headers["Retry-After"]) > 0

    await asyncio.to_thread(mortal.start, "postgres")
    await coming
    assert len(customers.acknowledged) == 30
    assert (await customers.client.get(order_path, headers=bearer)).is_success
    again = await post_order(customers, witness)
    assert again.json()["order_id"] == placed["order_id"]
    assert pids == {name: mortal.process(name).pid for name in pids}
    await assert_promises(mortal, {placed["order_id"], *customers.acknowledged})
