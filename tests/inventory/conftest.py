"""The inventory service's handlers on a real database, without Kafka."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest

import services.inventory
from contracts.inventory import AdjustStock, PutProduct, ReserveStock, RestoreStock
from contracts.message import REGISTRY, Message
from contracts.order import CartLine
from deploy.local.stack import LocalStack
from services.inventory.handlers import handlers
from services.kit.db import Connection
from services.kit.messages import Incoming
from services.kit.migrate import migrate
from services.kit.work import Handler, Work
from tests.messages import incoming

MIGRATIONS = Path(services.inventory.__file__).parent / "migrations"
M = TypeVar("M", bound=Message)
HANDLERS = handlers(timedelta(seconds=0.5))


@dataclass
class Shop:
    """Hands messages to the handlers as one wave in one transaction, and returns what they sent."""

    db: Connection
    heard: list[UUID] = field(default_factory=list)
    """The ids of the messages of the last wave."""
    parked: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)

    async def hear(self, *messages: Message) -> list[Message]:
        by_handler: dict[Handler, list[Incoming[Any]]] = {}
        wave = [incoming(message) for message in messages]
        for item in wave:
            by_handler.setdefault(HANDLERS[type(item.message)], []).append(item)
        self.heard = [item.envelope.id for item in wave]
        async with self.db.transaction():
            await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn of the loop
            work = Work(self.db, "inventory")
            with self._counting():
                for handler, items in by_handler.items():
                    await handler(work, items)
                await asyncio.sleep(0)
        self.parked = [entry.reason for entry in work.to_park]
        return [REGISTRY[sent.type].model_validate_json(sent.payload) for sent in work.outgoing]

    @contextmanager
    def _counting(self) -> Iterator[None]:
        self.statements = []

        def note(record: Any) -> None:
            self.statements.append(record.query)

        self.db.add_query_logger(note)
        try:
            yield
        finally:
            self.db.remove_query_logger(note)

    async def product(
        self, stock: int = 5, *, name: str = "Print", price: int = 12_000, currency: str = "zar"
    ) -> UUID:
        """A new product with so much stock."""
        product_id = uuid4()
        await self.hear(put(product_id, name=name, price=price, currency=currency))
        if stock:
            await self.hear(adjust(product_id, stock))
        return product_id

    async def row(self, product_id: UUID) -> asyncpg.Record:
        row = await self.db.fetchrow("SELECT * FROM products WHERE id = $1", product_id)
        assert row is not None
        return row

    async def stock(self, product_id: UUID) -> int:
        return int((await self.row(product_id))["stock_quantity"])

    async def states(self, order_id: UUID) -> list[str]:
        """Of the reservations of an order."""
        rows = await self.db.fetch(
            "SELECT state FROM reservations WHERE order_id = $1 ORDER BY line", order_id
        )
        return [row["state"] for row in rows]

    async def assert_books_add_up(self) -> None:
        """Opening stock plus movements is the stock, and so is what orders do not hold."""
        wrong = await self.db.fetch(
            """
            SELECT id, opening_stock, stock_quantity, moved, held
              FROM products
              LEFT JOIN (SELECT product_id AS id, sum(quantity) AS moved,
                                sum(quantity) FILTER (WHERE order_id IS NULL) AS by_people
                           FROM stock_movements GROUP BY 1) AS ledger USING (id)
              LEFT JOIN (SELECT product_id AS id, sum(quantity) AS held
                           FROM reservations WHERE state <> 'restored' GROUP BY 1) AS orders
             USING (id)
             WHERE opening_stock + coalesce(moved, 0) <> stock_quantity
                OR opening_stock + coalesce(by_people, 0) - coalesce(held, 0) <> stock_quantity
                OR movements_total <> coalesce(moved, 0)
            """
        )
        assert wrong == []


def put(product_id: UUID, **said: Any) -> PutProduct:
    facts = {"name": "Print", "price": 12_000, "currency": "zar"} | said
    return PutProduct(product_id=product_id, requested_by="thandi", **facts)


def adjust(product_id: UUID, delta: int, reason: str = "delivery") -> AdjustStock:
    return AdjustStock(product_id=product_id, delta=delta, reason=reason, requested_by="thandi")


def reserve(
    lines: dict[UUID, int], *, order_id: UUID | None = None, price: int | None = None
) -> ReserveStock:
    return ReserveStock(
        order_id=order_id or uuid4(),
        lines=tuple(
            CartLine(product_id=product_id, quantity=quantity, price=price)
            for product_id, quantity in lines.items()
        ),
    )


def restore(order_id: UUID, reason: str = "order cancelled") -> RestoreStock:
    return RestoreStock(order_id=order_id, reason=reason)


def only(kind: type[M], messages: list[Message]) -> list[M]:
    return [message for message in messages if isinstance(message, kind)]


@pytest.fixture(scope="session")
async def inventory(servers: LocalStack) -> str:
    """The DSN of one database for all tests of this folder: each makes its own products."""
    dsn = servers.create_database(f"inventory_{uuid4().hex[:12]}")
    await migrate(dsn, MIGRATIONS)
    return dsn


@pytest.fixture
async def shop(inventory: str) -> AsyncIterator[Shop]:
    db = await asyncpg.connect(inventory)
    yield Shop(db)
    await db.close()
