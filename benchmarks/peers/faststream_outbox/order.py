"""The order service: it places, asks for stock, asks for payment, confirms."""

import json
from typing import Any

from benchmarks.peers import statements as sql
from benchmarks.peers.faststream_outbox.broker import (
    OrderMessage,
    execute,
    reads,
    relays,
    send,
    session_of,
)

for topic in ("inventory.commands", "payment.commands", "order.events"):
    relays(topic)


@reads("order.commands")
async def place(command: dict[str, Any]) -> None:
    (line,) = command["lines"]
    lines = json.dumps([{"product_id": line["product_id"], "quantity": line["quantity"]}])
    order = OrderMessage(order_id=command["order_id"], product_id=line["product_id"])
    async with session_of() as session, session.begin():
        await execute(session, sql.PLACE_ORDER, order_id=order.order_id, lines=lines)
        await send(session, "inventory.commands", order)


@reads("inventory.events")
async def stock_reserved(event: OrderMessage) -> None:
    item = {
        "product_id": str(event.product_id),
        "quantity": 1,
        "name": event.name,
        "price": event.price,
    }
    async with session_of() as session, session.begin():
        await execute(
            session,
            sql.ORDER_RESERVED,
            order_id=event.order_id,
            price=event.price,
            currency=event.currency,
            items=json.dumps([item]),
        )
        await send(session, "payment.commands", event)


@reads("payment.events")
async def payment_succeeded(event: OrderMessage) -> None:
    async with session_of() as session, session.begin():
        await execute(session, sql.CONFIRM_ORDER, order_id=event.order_id, intent=event.intent)
        commit = OrderMessage(order_id=event.order_id, status="committed")
        await send(session, "inventory.commands", commit)
        confirmed = event.model_copy(update={"status": "confirmed"})
        await send(session, "order.events", confirmed)
