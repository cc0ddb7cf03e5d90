"""The payment service: every payment succeeds at once, as with PAYMENT_PROVIDER=instant."""

from benchmarks.peers import statements as sql
from benchmarks.peers.faststream_outbox.broker import (
    OrderMessage,
    execute,
    reads,
    relays,
    send,
    session_of,
)

relays("payment.events")


@reads("payment.commands")
async def pay(command: OrderMessage) -> None:
    intent = f"pi_{command.order_id.hex}"
    async with session_of() as session, session.begin():
        await execute(
            session,
            sql.PAY,
            order_id=command.order_id,
            price=command.price,
            currency=command.currency,
            intent=intent,
        )
        paid = OrderMessage(order_id=command.order_id, intent=intent)
        await send(session, "payment.events", paid)
