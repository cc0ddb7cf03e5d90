"""What staff ask of products: put, remove, adjust the stock. Lock, decide, save, send.

Every command is answered by ProductCommandDone, and the catalogue hears of it at once.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar
from uuid import UUID

from contracts.audit import InventoryAudited, StockMove
from contracts.inventory import (
    AdjustStock,
    ProductCommandDone,
    ProductUpdated,
    PutProduct,
    RemoveProduct,
)
from contracts.order import Problem
from services.inventory import product_store, store
from services.inventory.rules import LockedProduct, Movement, StockChange, refusal
from services.kit.messages import Incoming
from services.kit.work import Work

Command = PutProduct | RemoveProduct | AdjustStock
AnyCommand = TypeVar("AnyCommand", bound=Command)


async def administer(work: Work, incoming: Sequence[Incoming[Command]]) -> None:
    """A wave has at most one command per product, so the kinds can be done one after the other."""
    ids = [item.message.product_id for item in incoming]
    locked = {product.product_id: product for product in await store.lock_products(work.db, ids)}
    refused: dict[UUID, Problem] = {}
    accepted: list[Command] = []
    for item in incoming:
        command = item.message
        problem = refusal(command, locked.get(command.product_id))
        if problem is None:
            accepted.append(command)
        else:
            refused[command.product_id] = problem
    done = {product.product_id: product for product in await _do(work, accepted, locked)}
    for item in incoming:
        product_id = item.message.product_id
        work.send(
            ProductCommandDone(
                product_id=product_id,
                command_id=item.envelope.id,
                product=done.get(product_id),
                problem=refused.get(product_id),
            ),
            item,
        )
        if product_id in done:
            work.send(done[product_id], item)
            _audit(work, item)


async def _do(
    work: Work, commands: Sequence[Command], locked: dict[UUID, LockedProduct]
) -> list[ProductUpdated]:
    done: list[ProductUpdated] = []
    if puts := _only(PutProduct, commands):
        done += await product_store.put_products(work.db, puts, work.now)
    if removals := _only(RemoveProduct, commands):
        done += await product_store.remove_products(work.db, removals, work.now)
    if adjustments := _only(AdjustStock, commands):
        done += await store.move_stock(
            work.db,
            [_change(command, locked[command.product_id]) for command in adjustments],
            [_movement(command) for command in adjustments if command.delta],
            work.now,
            publish_every=None,
        )
    return done


def _only(kind: type[AnyCommand], commands: Iterable[Command]) -> list[AnyCommand]:
    return [command for command in commands if isinstance(command, kind)]


def _change(command: AdjustStock, product: LockedProduct) -> StockChange:
    # Staff who take the last one out sell nothing; who adds none changes nothing.
    return StockChange(command.product_id, command.delta, product.sold_out and not command.delta)


def _movement(command: AdjustStock) -> Movement:
    return Movement(
        product_id=command.product_id,
        quantity=command.delta,
        action="adjusted",
        reason=command.reason,
        changed_by=command.requested_by,
    )


def _audit(work: Work, item: Incoming[Command]) -> None:
    command = item.message
    moves: tuple[StockMove, ...] = ()
    reason = None
    if isinstance(command, AdjustStock):
        action, reason = "adjusted", command.reason
        if command.delta:
            moves = (StockMove(product_id=command.product_id, quantity=command.delta),)
    else:
        action = "product_put" if isinstance(command, PutProduct) else "product_removed"
    work.send(
        InventoryAudited(
            product_id=command.product_id,
            action=action,
            moves=moves,
            changed_by=command.requested_by,
            reason=reason,
            at=work.now,
        ),
        item,
    )
