"""Follows order.events, the catalogue and inventory's answers into the gateway's views.

Views only ever move forward: a message changes a row if its version is newer, and of several for
one row only the newest is written. Everything here is one statement per call, whatever the number
of messages.
"""

from collections.abc import Iterable, Mapping

from contracts.inventory import Product, ProductCommandDone, ProductUpdated
from contracts.message import Message
from contracts.order import CommandRefused, OrderUpdated
from services.gateway.store import orders, products
from services.kit.messages import Incoming
from services.kit.work import Handler, Several, Work, ignore


async def show_orders(work: Work, heard: list[Incoming[OrderUpdated]]) -> None:
    newest = sorted((incoming.message for incoming in heard), key=lambda order: order.version)
    shown = {order.order_id: order for order in newest}.values()
    await orders.save_newer_orders(
        work.db,
        [order.order_id for order in shown],
        [order.customer_id for order in shown],
        [order.version for order in shown],
        [order.model_dump_json() for order in shown],
    )


async def show_products(work: Work, heard: list[Incoming[ProductUpdated]]) -> None:
    await _save_products(work, (incoming.message for incoming in heard))


async def keep_answers(work: Work, heard: list[Incoming[ProductCommandDone]]) -> None:
    """The product is shown with the answer, so that whoever reads it next finds it changed."""
    await _save_products(
        work, (incoming.message.product for incoming in heard if incoming.message.product)
    )
    await products.save_answers(
        work.db,
        [incoming.message.command_id for incoming in heard],
        [incoming.message.model_dump_json() for incoming in heard],
    )


async def _save_products(work: Work, heard: Iterable[Product]) -> None:
    newest = sorted(heard, key=lambda product: product.version)
    await products.save_newer_products(
        work.db, list({product.product_id: product for product in newest}.values())
    )


HANDLERS: Mapping[type[Message], Handler] = {
    OrderUpdated: Several(show_orders),
    ProductUpdated: Several(show_products),
    ProductCommandDone: Several(keep_answers),
    CommandRefused: Several(ignore),
}
