"""The inventory service: it reserves stock, and books it as sold once the order is confirmed."""

from benchmarks.peers import statements as sql
from benchmarks.peers.faststream_outbox.broker import (
    OrderMessage,
    execute,
    reads,
    relays,
    send,
    session_of,
)

RESERVED = """
SELECT reservations.name, reservations.price, currency
  FROM reservations JOIN products ON products.id = product_id
 WHERE order_id = :order_id
"""

relays("inventory.events")


@reads("inventory.commands")
async def take(command: OrderMessage) -> None:
    order_id, product_id = command.order_id, command.product_id
    async with session_of() as session, session.begin():
        if command.status == "committed":
            await execute(session, sql.COMMIT_STOCK, order_id=order_id)
            return
        # A message that comes again finds the reservation, and is answered again.
        item = await execute(session, RESERVED, order_id=order_id)
        if item is None:
            await execute(session, sql.BOOK_MOVEMENT, order_id=order_id, product_id=product_id)
            item = await execute(session, sql.TAKE_STOCK, product_id=product_id)
            if item is None:
                raise RuntimeError(f"product {product_id} is out of stock")
            name, price = item["name"], item["price"]
            await execute(
                session, sql.HOLD, order_id=order_id, product_id=product_id, name=name, price=price
            )
        reserved = OrderMessage(order_id=order_id, product_id=product_id, **item)
        await send(session, "inventory.events", reserved)
