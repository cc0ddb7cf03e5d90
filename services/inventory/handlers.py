"""What the saga asks of the stock: reserve, commit, restore. Lock, decide, save, send.

Reserving and restoring are one handler: a batch then locks all of its products in one statement,
which is what keeps two replicas from deadlocking, and stock that comes back is there for the
orders behind. Product administration is in `administration`.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Final, Literal
from uuid import UUID

from contracts.audit import InventoryAudited, StockMove
from contracts.inventory import (
    AdjustStock,
    CommitStock,
    PutProduct,
    RemoveProduct,
    ReserveStock,
    RestoreStock,
    StockRejected,
    StockReserved,
    StockRestored,
)
from contracts.message import Message
from contracts.order import OrderItem
from services.inventory import store
from services.inventory.administration import administer
from services.inventory.rules import (
    Outcome,
    PutBack,
    Rejected,
    Request,
    Reserved,
    Take,
    allocate,
    request_of,
)
from services.kit.messages import Incoming
from services.kit.work import Handler, Work

ORDER_SERVICE: Final = "order-service"
"""Whose commands these are, in the ledger and in the audit trail."""

FEW_PRODUCTS: Final = 50
"""A batch that changes no more products shows them on the catalogue at once: also the hottest
product costs one message per batch. Only a flood over many products has to wait its turn."""

StockCommand = ReserveStock | RestoreStock


async def move_stock(
    work: Work, incoming: Sequence[Incoming[StockCommand]], *, catalog_interval: timedelta
) -> None:
    """Each order at most once; a command that comes again gets the same answer again."""
    known = await store.lock_orders(work.db, [item.message.order_id for item in incoming])
    asked = [request_of(item.message, known.get(item.message.order_id)) for item in incoming]
    requests = [request for request in asked if isinstance(request, Take | PutBack)]
    outcomes: dict[UUID, Outcome] = {}
    if requests:
        outcomes = await _decide(work, requests, known, catalog_interval)
    for item, request in zip(incoming, asked, strict=True):
        if isinstance(request, Take | PutBack):
            outcome = outcomes[request.order_id]
            _audit(work, item, outcome)
        else:
            outcome = request
        work.send(_answer(outcome), item)


async def _decide(
    work: Work,
    requests: Sequence[Request],
    known: dict[UUID, Outcome],
    catalog_interval: timedelta,
) -> dict[UUID, Outcome]:
    products = await store.lock_products(work.db, _products_of(requests))
    allocation = allocate(products, requests, ORDER_SERVICE)
    if allocation.movements:
        few = len(allocation.changes) <= FEW_PRODUCTS
        for product in await store.move_stock(
            work.db,
            allocation.changes,
            allocation.movements,
            work.now,
            timedelta(0) if few else catalog_interval,
        ):
            work.send(product)  # caused by a whole batch: it belongs to no order
    answered = [
        outcome for order_id, outcome in allocation.outcomes.items() if order_id not in known
    ]
    if answered:
        await store.save_orders(work.db, answered, work.now)
    restored = [order_id for order_id in allocation.outcomes if order_id in known]
    if restored:
        await store.restore_orders(work.db, restored, work.now)
    return allocation.outcomes


def _products_of(requests: Sequence[Request]) -> set[UUID]:
    return {
        line.product_id
        for request in requests
        for line in (request.lines if isinstance(request, Take) else request.items)
    }


def _answer(outcome: Outcome) -> Message:
    if isinstance(outcome, Reserved):
        return StockReserved(
            order_id=outcome.order_id,
            items=outcome.items,
            total=outcome.total,
            currency=outcome.currency,
        )
    if isinstance(outcome, Rejected):
        return StockRejected(order_id=outcome.order_id, problems=outcome.problems)
    return StockRestored(order_id=outcome.order_id)


def _audit(work: Work, item: Incoming[StockCommand], outcome: Outcome) -> None:
    moves: tuple[StockMove, ...] = ()
    reason = item.message.reason if isinstance(item.message, RestoreStock) else None
    if isinstance(outcome, Reserved):
        action, moves = "reserved", _moves(outcome.items, -1)
    elif isinstance(outcome, Rejected):
        action = "rejected"
        reason = "; ".join(problem.message for problem in outcome.problems)
    else:
        action, moves = "restored", _moves(outcome.items, 1)
    work.send(
        InventoryAudited(
            order_id=outcome.order_id,
            action=action,
            moves=moves,
            changed_by=ORDER_SERVICE,
            reason=reason,
            at=work.now,
        ),
        item,
    )


def _moves(items: Sequence[OrderItem], sign: Literal[-1, 1]) -> tuple[StockMove, ...]:
    return tuple(
        StockMove(product_id=item.product_id, quantity=sign * item.quantity) for item in items
    )


async def commit(work: Work, incoming: Sequence[Incoming[CommitStock]]) -> None:
    """What was held is sold. Nothing to do for an order that was committed or undone before."""
    by_order = {item.message.order_id: item for item in incoming}
    for order in await store.commit_orders(work.db, list(by_order), work.now):
        item = by_order[order.order_id]
        if order.committed:
            work.send(
                InventoryAudited(
                    order_id=order.order_id,
                    action="committed",
                    changed_by=ORDER_SERVICE,
                    reason=None,
                    at=work.now,
                ),
                item,
            )
        elif order.state not in ("reserved", "restored"):
            work.park(item, f"the order holds no stock: it is {order.state or 'not known'} here")


def handlers(catalog_interval: timedelta) -> dict[type[Message], Handler]:
    """HANDLERS, given how often orders may cause a product to be published."""
    stock = partial(move_stock, catalog_interval=catalog_interval)
    return {
        ReserveStock: stock,
        RestoreStock: stock,
        CommitStock: commit,
        PutProduct: administer,
        RemoveProduct: administer,
        AdjustStock: administer,
    }
