"""The services' tables in memory: one method in place of each SQL statement.

A store's functions take the connection first, so here the tables are the connection, and a method
stands in for the function of its name (`stand_in`). What the databases enforce by constraints is
asserted where the statement would fail.
"""

import inspect
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

import services.inventory.store
import services.order.store
import services.order.stuck_store
import services.payment.store
from contracts.inventory import ProductUpdated
from contracts.order import STATUS_TRANSITIONS, CancelOrder
from services.inventory.rules import (
    LockedProduct,
    Movement,
    Outcome,
    Reserved,
    Restored,
    StockChange,
)
from services.inventory.store import Commitment
from services.order.deadlines import Timer
from services.order.order import Order
from services.order.store import DueOrder, Stored
from services.order.stuck_store import StuckOrder
from services.payment import call_queue
from tests.saga.payment_tables import PaymentDatabase, PaymentTables

Row = dict[str, Any]


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the services' handlers find these tables where they expect PostgreSQL."""
    places: dict[type, ModuleType] = {
        OrderTables: services.order.store,
        InventoryTables: services.inventory.store,
        PaymentTables: services.payment.store,
        PaymentDatabase: call_queue,
    }
    for tables, module in places.items():
        for name, method in vars(tables).items():
            if inspect.iscoroutinefunction(method) and name != "flag_stuck":
                monkeypatch.setattr(module, name, method)
    monkeypatch.setattr(services.order.stuck_store, "flag_stuck", OrderTables.flag_stuck)


@dataclass
class OrderTables:
    orders: dict[UUID, Stored] = field(default_factory=dict)
    early: dict[UUID, CancelOrder] = field(default_factory=dict)
    stuck: dict[UUID, str] = field(default_factory=dict)
    """Why orders could not be advanced by the sweeper: nothing here is broken, so none may be."""

    async def insert_orders(self, orders: Sequence[Order], deadline: datetime) -> set[UUID]:
        new = {o.id: Stored(o, Timer(deadline)) for o in orders if o.id not in self.orders}
        self.orders |= new
        return set(new)

    async def insert_early_cancellations(self, cancellations: Sequence[CancelOrder]) -> None:
        for cancellation in cancellations:
            self.early.setdefault(cancellation.order_id, cancellation)

    async def take_early_cancellations(
        self, order_ids: Collection[UUID]
    ) -> dict[UUID, CancelOrder]:
        return {id_: self.early.pop(id_) for id_ in order_ids if id_ in self.early}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """A savepoint; what fails in it is found in `stuck`."""
        yield

    async def flag_stuck(
        self,
        reasons: Mapping[UUID, str],
        _now: datetime,
        _first_retry: timedelta,
        _last_retry: timedelta,
    ) -> list[StuckOrder]:
        self.stuck |= reasons
        return []

    async def lock_orders(self, order_ids: Collection[UUID]) -> list[Row]:
        return [
            {"id": id_, "saga_state": self.orders[id_].order.state}
            for id_ in sorted(self.orders.keys() & set(order_ids))
        ]

    async def lock_due_orders(
        self, now: datetime, _left_to_newer: timedelta, limit: int
    ) -> list[DueOrder]:
        due = sorted(
            (timer.deadline_at, order.id, order.state)
            for order, timer in self.orders.values()
            if timer.deadline_at and timer.deadline_at <= now
        )
        return [DueOrder(id_, state) for _, id_, state in due[:limit]]

    async def load_orders(self, rows: Sequence[Row]) -> dict[UUID, Stored]:
        return {row["id"]: self.orders[row["id"]] for row in rows}

    async def update_orders(self, changes: Sequence[Stored]) -> None:
        for change in changes:
            order, before = change.order, self.orders[change.order.id].order
            allowed = {before.status, *STATUS_TRANSITIONS[before.status]}
            assert order.status in allowed, f"I8: {before.status} became {order.status}"
            assert 0 <= order.amount_refunded <= (order.total or order.amount_refunded)
            self.orders[order.id] = change


@dataclass
class Reservation:
    quantity: int
    state: str = "held"


@dataclass
class InventoryTables:
    products: dict[UUID, LockedProduct] = field(default_factory=dict)
    outcomes: dict[UUID, Outcome] = field(default_factory=dict)
    reservations: dict[UUID, dict[UUID, Reservation]] = field(default_factory=dict)
    """By order and product."""
    movements: list[Movement] = field(default_factory=list)

    async def lock_orders(self, order_ids: Collection[UUID]) -> dict[UUID, Outcome]:
        return {id_: self.outcomes[id_] for id_ in order_ids if id_ in self.outcomes}

    async def lock_products(self, product_ids: Collection[UUID]) -> list[LockedProduct]:
        return [replace(self.products[id_]) for id_ in sorted(product_ids & self.products.keys())]

    async def move_stock(
        self,
        changes: Sequence[StockChange],
        movements: Sequence[Movement],
        _now: datetime,
        _publish_every: timedelta | None,
    ) -> list[ProductUpdated]:
        self.movements += movements
        for change in changes:
            product = self.products[change.product_id]
            product.stock_quantity += change.delta
            product.sold_out = change.sold_out
        return []

    async def save_orders(self, outcomes: Iterable[Outcome], _now: datetime) -> None:
        for outcome in outcomes:
            assert outcome.order_id not in self.outcomes
            self.outcomes[outcome.order_id] = outcome
            if isinstance(outcome, Reserved):
                self.reservations[outcome.order_id] = {
                    item.product_id: Reservation(item.quantity) for item in outcome.items
                }

    async def restore_orders(self, order_ids: Sequence[UUID], _now: datetime) -> None:
        for order_id in order_ids:
            assert isinstance(self.outcomes[order_id], Reserved), "I3: restored before"
            self.outcomes[order_id] = Restored(order_id)
            for reservation in self.reservations.get(order_id, {}).values():
                reservation.state = "restored"

    async def commit_orders(self, order_ids: Sequence[UUID], _now: datetime) -> list[Commitment]:
        commitments = []
        for order_id in order_ids:
            held = [
                reservation
                for reservation in self.reservations.get(order_id, {}).values()
                if reservation.state == "held"
            ]
            for reservation in held:
                reservation.state = "committed"
            outcome = self.outcomes.get(order_id)
            state = type(outcome).__name__.lower() if outcome else None
            commitments.append(Commitment(order_id, state, bool(held)))
        return commitments
