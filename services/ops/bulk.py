"""One action on many orders: a command for each, once, and with a name and a reason."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

from contracts.message import Message, new_message_id
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    OrderStatus,
    RefundOrder,
    RetryOrder,
    RetryRefund,
    SettleRefund,
)
from services.kit.db import Connection
from services.kit.work import Work
from services.ops.asking import OtherRequest, check_new
from services.ops.store import bulks
from services.ops.store.bulks import Bulk


class Action(StrEnum):
    """What can be asked of many orders; the first four are the status they shall have."""

    PROCESSING = "processing"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    ARCHIVED = "archived"
    CANCEL = "cancel"
    REFUND = "refund"
    RETRY = "retry"
    RETRY_REFUND = "retry_refund"
    SETTLE_REFUND = "settle_refund"


class UnknownOrders(ValueError):  # noqa: N818  # an answer more than an error
    """Orders that no topic has told of: nothing was asked of the others either."""

    def __init__(self, order_ids: Sequence[UUID]) -> None:
        super().__init__(", ".join(map(str, order_ids)))


async def ask(work: Work, bulk: Bulk, order_ids: Sequence[UUID]) -> dict[str, Any]:
    """Send the commands, unless that was done before under this id; how the bulk stands now.

    Raises:
        UnusableId, OtherRequest, UnknownOrders
    """
    if await bulks.find_bulk(work.db, bulk.id) is None:
        check_new(bulk.id, work.now)
        if unknown := await bulks.find_unknown(work.db, order_ids):
            raise UnknownOrders(unknown)
        if await bulks.insert_bulk(work.db, bulk, work.now):
            commands = {order_id: new_message_id() for order_id in sorted(order_ids)}
            await bulks.insert_orders(work.db, bulk.id, commands)
            for order_id, command_id in commands.items():
                work.send(_command(bulk, order_id), message_id=command_id)
    asked = await look(work.db, bulk.id)
    same = all(asked[name] == value for name, value in bulk._asdict().items())
    if not same or {row["order_id"] for row in asked["orders"]} != set(order_ids):
        raise OtherRequest(f"{bulk.id} is another bulk")
    return asked


async def look(db: Connection, bulk_id: UUID) -> dict[str, Any]:
    """A bulk and what became of it so far; empty when nobody asked for it here."""
    found = await bulks.find_bulk(db, bulk_id)
    if found is None:
        return {}
    action = Action(found["action"])
    orders = [dict(row) for row in await bulks.find_orders(db, bulk_id)]
    return {**found, "orders": [{**row, "outcome": _outcome(row, action)} for row in orders]}


def _outcome(row: dict[str, Any], action: Action) -> str:
    """`waiting` until the order service has answered; it says nothing to the cancellation of what
    is cancelled already."""
    if row["answered_at"] is not None:
        return "refused" if row["problem"] else "accepted"
    is_so_already = action is Action.CANCEL and row["status"] == OrderStatus.CANCELLED
    return "nothing to do" if is_so_already else "waiting"


def _command(bulk: Bulk, order_id: UUID) -> Message:
    who: Any = {"order_id": order_id, "requested_by": bulk.requested_by, "reason": bulk.reason}
    match Action(bulk.action):
        case Action.CANCEL:
            return CancelOrder(**who, by_staff=True)
        case Action.REFUND:
            return RefundOrder(**who, amount=bulk.amount, restock=bulk.restock)
        case Action.RETRY:
            return RetryOrder(**who)
        case Action.RETRY_REFUND:
            return RetryRefund(**who)
        case Action.SETTLE_REFUND:
            return SettleRefund(**who, amount=bulk.amount or 0, restock=bulk.restock)
        case action:
            return ChangeOrderStatus(**who, status=OrderStatus(action.value))
