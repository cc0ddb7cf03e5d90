"""P4 and P6 to P9 of the requirements on the running system: payments, prices, carts, keys, audit.

Each test fails when its protection is taken away. The stock's are in the module beside.
"""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg

from contracts.audit import OrderAudited
from contracts.topics import AUDIT_ORDER
from deploy.local.shop import Json
from deploy.local.stack import LocalStack
from tests.flows.conftest import (
    PRICE,
    STOCK,
    becomes,
    ordered,
    paid,
    refused,
    stock,
    stock_in_database,
)
from tests.flows.people import Dashboard, Person, stripe_event
from tests.flows.topics import records
from tests.looking import rows


async def test_p4_webhooks_drive_the_order(anna: Person, stripe: Dashboard, product: str) -> None:
    """P4: the order hears of its payment from Stripe, with no human step, not from the browser."""
    order = await ordered(anna, product)
    await stripe.fault("webhook_held")
    assert await anna.pay(order, "pm_card_visa")
    assert (await stripe.intent(order))["status"] == "succeeded"
    assert (await anna.order(order["order_id"]))["payment_status"] == "unpaid"
    await stripe.release()
    await becomes(anna, order, status="confirmed", payment_status="paid")


async def test_p4_a_forged_webhook_is_refused_and_confirms_nothing(
    stack: LocalStack, anna: Person, stripe: Dashboard, product: str
) -> None:
    """P4: the signature is verified before anything is believed."""
    order = await ordered(anna, product)
    forged = stripe_event(
        "payment_intent.succeeded",
        id=order["payment"]["payment_intent_id"],
        amount=PRICE,
        amount_received=PRICE,
        currency="zar",
        status="succeeded",
        metadata={"order_id": order["order_id"]},
    )
    answer = await stripe.send(forged, secret="whsec_guessed")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Webhook signature verification failed: ")
    # Whatever was let in would be through before this payment of another order.
    await paid(anna, product)
    seen = await anna.order(order["order_id"])
    assert (seen["status"], seen["payment_status"]) == ("pending", "unpaid")
    assert not await stripe_events(stack, forged["id"])


async def test_p6_the_price_charged_is_the_products_never_the_clients(
    staff: Person, anna: Person, stripe: Dashboard, product: str
) -> None:
    """P6: the client's price is compared, and the product's charged, also within the 1 %."""
    close = await anna.check_out([{"product_id": product, "quantity": 2, "price": PRICE - 100}])
    order = close.json()
    assert (close.status_code, order["total"]) == (201, 2 * PRICE)
    assert (await stripe.ledger(order))["amount"] == 2 * PRICE
    cheap = await anna.check_out([{"product_id": product, "quantity": 2, "price": 1}])
    assert refused(cheap, 400) == ["Price for Print has changed. Was R0.01, now R120.00"]


async def test_p7_a_stale_cart_hears_of_all_its_problems_at_once(
    staff: Person, anna: Person
) -> None:
    """P7: every line is checked, its first problem is told; the reservation does it again."""
    gone, off, scarce, dear, fine = [
        await staff.add_product(name, price=PRICE, stock=2)
        for name in ("Gone", "Off", "Scarce", "Dear", "Fine")
    ]
    await staff.remove_product(gone)
    switched_off = {"name": "Off", "price": PRICE, "currency": "zar", "available": False}
    assert (await staff.ask("PUT", f"/v1/admin/products/{off}", switched_off)).is_success
    items: list[Json] = [
        {"product_id": gone, "quantity": 5, "price": 1},
        {"product_id": off, "quantity": 5, "price": 1},
        {"product_id": scarce, "quantity": 5, "price": 1},
        {"product_id": dear, "quantity": 1, "price": PRICE - 150},
        {"product_id": fine, "quantity": 1, "price": PRICE - 100},
    ]
    checked = await anna.check_cart(items)
    assert not checked["valid"]
    assert [(e["product_id"], e["message"]) for e in checked["errors"]] == [
        (gone, "Product no longer available"),
        (off, "Off is no longer available"),
        (scarce, "Insufficient stock for Scarce. Available: 2, In cart: 5"),
        (dear, "Price for Dear has changed. Was R118.50, now R120.00"),
    ]
    placed = await anna.check_out(items)
    assert placed.status_code == 400
    assert [e["product_id"] for e in placed.json()["errors"]] == [gone, off, scarce, dear]
    assert await stock(anna, fine) == 2


async def test_p7_two_lines_of_one_product_are_both_checked(anna: Person, product: str) -> None:
    lines = [{"product_id": product, "quantity": 1, "price": price} for price in (PRICE, 1)]
    checked = await anna.check_cart(lines)
    assert [e["message"] for e in checked["errors"]] == [
        "Price for Print has changed. Was R0.01, now R120.00"
    ]


async def test_p8_a_double_click_places_one_order_and_reads_one_answer(
    stack: LocalStack, anna: Person, product: str
) -> None:
    """P8: one effect and one answer per key, one after the other or at once."""
    key, items = str(uuid4()), [{"product_id": product, "quantity": 1}]
    first = await anna.check_out(items, key=key)
    again = await anna.check_out(items, key=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()

    key = str(uuid4())
    both = await asyncio.gather(*(anna.check_out(items, key=key) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [201, 409]
    assert await stock_in_database(stack, product) == STOCK - 2


async def test_p8_a_key_belongs_to_its_customer_and_request_for_24_hours(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    """P8: the row that keeps a key, what it is compared with, and its end."""
    key, items = str(uuid4()), [{"product_id": product, "quantity": 1}]
    first = (await anna.check_out(items, key=key)).json()
    other = await anna.check_out([{"product_id": product, "quantity": 2}], key=key)
    assert other.status_code == 422
    ben = staff.as_(stack.token(f"ben-{uuid4().hex[:6]}"))
    bens = await ben.check_out(items, key=key)
    assert bens.status_code == 201
    assert bens.json()["order_id"] != first["order_id"]

    mine = "key = $1 AND customer_id = $2"
    query = (
        f"SELECT response->>'order_id', expires_at - created_at FROM idempotency_keys WHERE {mine}"
    )
    assert [
        tuple(row) for row in await rows(stack, "gateway", query, key, first["customer_id"])
    ] == [(first["order_id"], timedelta(hours=24))]
    expire = f"UPDATE idempotency_keys SET expires_at = now() WHERE {mine}"
    await rows(stack, "gateway", expire, key, first["customer_id"])
    later = await anna.check_out(items, key=key)
    assert later.json()["order_id"] != first["order_id"]


async def test_p9_every_change_is_logged_by_the_database_and_published(
    stack: LocalStack, staff: Person, anna: Person, product: str
) -> None:
    """P9: the trigger writes the history, the audit topic has each version of the order."""
    order = await paid(anna, product)
    await staff.set_status(order, "processing", "to the framer")
    seen = await becomes(anna, order, status="processing")
    logged = await history_in_database(stack, order)
    assert logged == [
        (None, "pending", order["customer_id"], "placed"),
        ("pending", "confirmed", "payment-service", "payment succeeded"),
        ("confirmed", "processing", seen["history"][-1]["changed_by"], "to the framer"),
    ]
    assert logged[-1][2].startswith("staff-")

    audited = [
        OrderAudited.model_validate_json(record.value or b"")
        for record in await records(stack, AUDIT_ORDER)
        if record.key == order["order_id"].encode()
        and ("ce_type", OrderAudited.wire_type.encode()) in record.headers
    ]
    assert [audit.version for audit in audited] == list(range(1, seen["version"] + 1))
    assert [
        (audit.old_status, audit.new_status, audit.changed_by, audit.reason)
        for audit in audited
        if audit.old_status != audit.new_status
    ] == logged


async def test_p9_not_even_plain_sql_changes_a_status_unseen(
    stack: LocalStack, anna: Person, product: str
) -> None:
    """P9: nobody logs by hand, so nobody can forget to."""
    order = await ordered(anna, product)
    by_hand = "UPDATE orders SET status = 'cancelled' WHERE id = $1"
    await rows(stack, "order", by_hand, UUID(order["order_id"]))
    assert (await history_in_database(stack, order))[-1] == (
        "pending",
        "cancelled",
        "database:orders",
        None,
    )


async def stripe_events(stack: LocalStack, event_id: str) -> list[asyncpg.Record]:
    query = "SELECT outcome FROM stripe_events WHERE event_id = $1"
    return await rows(stack, "payment", query, event_id)


async def history_in_database(
    stack: LocalStack, order: Json
) -> list[tuple[str | None, str, str, str | None]]:
    query = """
        SELECT old_status, new_status, changed_by, reason
          FROM order_status_history WHERE order_id = $1 ORDER BY id
        """
    found = await rows(stack, "order", query, UUID(order["order_id"]))
    return [(row[0], row[1], row[2], row[3]) for row in found]
