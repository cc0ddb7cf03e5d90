"""What the gateway does by itself: views in constant work, and clearing away."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from contracts.inventory import ProductCommandDone
from contracts.message import new_message_id
from services.gateway.channels import ORDER_CHANGED
from services.gateway.projections import keep_answers, show_orders, show_products
from services.gateway.store import keys, products
from services.kit.work import Handler, Work
from tests.gateway.conftest import Api, until
from tests.gateway.other_side import order, product, product_updated
from tests.messages import incoming


def done(product_id: UUID) -> ProductCommandDone:
    return ProductCommandDone(
        product_id=product_id, command_id=new_message_id(), product=product(product_id)
    )


@pytest.mark.parametrize(
    ("handler", "told", "statements"),
    [
        (show_orders, lambda: order(new_message_id(), "thandi"), 1),
        (show_products, lambda: product_updated(product(uuid4())), 1),
        (keep_answers, lambda: done(uuid4()), 2),
    ],
)
@pytest.mark.parametrize("count", [1, 500])
async def test_a_batch_takes_as_many_statements_as_one_message(
    api: Api, handler: Handler, told: Any, statements: int, count: int
) -> None:
    seen: list[str] = []
    async with api.service.pool.acquire() as db, db.transaction():
        # A connection's first use of a type asks the server about the type.
        await handler(Work(db, "gateway"), [incoming(told())])
        with db.query_logger(lambda record: seen.append(record.query)):
            await handler(Work(db, "gateway"), [incoming(told()) for _ in range(count)])
    assert len(seen) == statements


async def test_of_several_messages_for_a_row_the_newest_is_shown(api: Api) -> None:
    order_id, product_id = new_message_id(), uuid4()
    shuffled = (2, 5, 1, 3)
    async with api.service.pool.acquire() as db:
        work = Work(db, "gateway")
        await show_orders(work, [incoming(order(order_id, "thandi", v)) for v in shuffled])
        told = [product_updated(product(product_id, v, stock_quantity=v)) for v in shuffled]
        await show_products(work, [incoming(message) for message in told])
        version = await db.fetchval("SELECT version FROM orders WHERE order_id = $1", order_id)
    assert version == 5
    found = await products.find_product(api.service.pool, product_id)
    assert found is not None
    assert found.stock_quantity == 5


async def test_a_batch_is_announced_in_payloads_that_fit(api: Api) -> None:
    told = [order(new_message_id(), "thandi") for _ in range(500)]
    stale = told[0]
    payloads: list[str] = []
    listening = await asyncpg.connect(api.service.settings.database_url)
    try:
        await listening.add_listener(ORDER_CHANGED, lambda *heard: payloads.append(str(heard[3])))
        for messages in (told, [stale]):
            async with api.service.pool.acquire() as db, db.transaction():
                await show_orders(Work(db, "gateway"), [incoming(message) for message in messages])
        await listening.execute("SELECT")
    finally:
        await listening.close()
    assert len(payloads) == 3
    assert all(len(payload) < 8000 for payload in payloads)
    announced = ",".join(payloads).split(",")
    assert sorted(announced) == sorted(str(message.order_id) for message in told)


async def test_expired_keys_are_cleared_away_and_others_kept(api: Api, customer: str) -> None:
    for key in ("old", "new"):
        await api.place(customer, key=key)
    async with api.service.pool.acquire() as db:
        await db.execute(
            "UPDATE idempotency_keys SET expires_at = now() WHERE customer_id = $1 AND key = 'old'",
            customer,
        )
        assert await keys.forget_expired_keys(db, 1000) == 1
        left = await db.fetch(
            "SELECT key, expires_at - created_at AS kept FROM idempotency_keys "
            "WHERE customer_id = $1",
            customer,
        )
    assert [(row["key"], row["kept"]) for row in left] == [("new", timedelta(hours=24))]


async def test_old_answers_to_commands_are_cleared_away(api: Api) -> None:
    old, new = new_message_id(), new_message_id()
    async with api.service.pool.acquire() as db:
        await products.save_answers(db, [old, new], ["{}", "{}"])
        await db.execute(
            "UPDATE command_answers SET received_at = now() - interval '2 hours' "
            "WHERE command_id = $1",
            old,
        )
        await products.forget_answers(db, older_than=timedelta(hours=1), limit=100)
        assert await products.load_answers(db, [str(old), str(new)]) == {str(new): "{}"}


async def test_no_personal_data_in_the_database(api: Api, customer: str) -> None:
    """Contact details pass through the outbox only, which holds them until Kafka has them."""
    address = {
        "name": "Canary",
        "line1": "Canary Row",
        "city": "Canary",
        "postal_code": "1",
        "country": "ZA",
    }
    placed = await api.place(
        customer,
        {
            "items": [{"product_id": str(uuid4()), "quantity": 1}],
            "email": "canary@example.com",
            "shipping_address": address,
        },
    )
    assert placed.status_code == 202
    async with api.service.pool.acquire() as db:
        for table in ("orders", "idempotency_keys", "parked_messages"):
            rows = await db.fetch(f"SELECT t::text FROM {table} AS t")
            assert not any("canary" in row["t"].lower() for row in rows)


async def test_an_order_that_the_view_cannot_hold_is_set_aside_alone(api: Api) -> None:
    """All in one batch, or nearly: the others are shown, and the one is a dead letter."""
    good, bad = [new_message_id() for _ in range(3)], new_message_id()
    await api.other_side.say(order(bad, "thandi", 2**31), *(order(each, "thandi") for each in good))

    async def is_settled() -> bool:
        shown = "SELECT count(*) FROM orders WHERE order_id = ANY($1)"
        parked = "SELECT count(*) FROM parked_messages WHERE key = $1"
        counts = (
            await api.service.pool.fetchval(shown, good),
            await api.service.pool.fetchval(parked, str(bad)),
        )
        return counts == (len(good), 1)

    await until(is_settled)
    assert not await api.service.pool.fetchval("SELECT 1 FROM orders WHERE order_id = $1", bad)
