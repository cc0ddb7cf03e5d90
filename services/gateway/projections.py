"""Follows order.events, the catalogue and inventory's answers into the gateway's views.

Views only ever move forward: a message changes a row if its version is newer. Everything here is
one statement per call, whatever the number of messages.
"""

from collections.abc import Mapping

from contracts.inventory import ProductCommandDone, ProductUpdated
from contracts.message import Message
from contracts.order import CommandRefused, OrderUpdated
from services.gateway.store import orders, products
from services.kit.messages import Incoming
from services.kit.work import Handler, Work, ignore


async def show_orders(work: Work, heard: list[Incoming[OrderUpdated]]) -> None:
    await orders.save_newer_orders(
        work.db,
        [incoming.message.order_id for incoming in heard],
        [incoming.message.customer_id for incoming in heard],
        [incoming.message.version for incoming in heard],
        [incoming.message.model_dump_json() for incoming in heard],
    )


async def show_products(work: Work, heard: list[Incoming[ProductUpdated]]) -> None:
    await products.save_newer_products(work.db, [incoming.message for incoming in heard])


async def keep_answers(work: Work, heard: list[Incoming[ProductCommandDone]]) -> None:
    """The product is shown with the answer, so that whoever reads it next finds it changed."""
    await products.save_newer_products(
        work.db, [incoming.message.product for incoming in heard if incoming.message.product]
    )
    await products.save_answers(
        work.db,
        [incoming.message.command_id for incoming in heard],
        [incoming.message.model_dump_json() for incoming in heard],
    )


HANDLERS: Mapping[type[Message], Handler] = {
    OrderUpdated: show_orders,
    ProductUpdated: show_products,
    ProductCommandDone: keep_answers,
    CommandRefused: ignore,
}
