"""The order service's handlers on a real database, without Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

import services.order
from contracts.inventory import StockReserved
from contracts.message import Message, new_message_id
from contracts.order import CartLine, OrderItem, PlaceOrder
from services.kit.messages import Outgoing
from services.kit.work import Work
from services.order.deadlines import Timing
from services.order.handlers import OrderHandlers
from tests.conftest import Migrated
from tests.messages import incoming

MIGRATIONS = Path(services.order.__file__).parent / "migrations"
PRODUCT = UUID("01890000-0000-7000-8000-0000000000aa")


@dataclass
class Desk:
    """Hands messages to the handlers, one transaction per call, and keeps what they sent."""

    db: "asyncpg.Connection[asyncpg.Record]"
    handlers: OrderHandlers
    sent: list[Outgoing] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    statements: int = 0

    async def hear(self, *messages: Message) -> None:
        by_message = self.handlers.by_message()
        arrived = [incoming(message) for message in messages]
        async with self.db.transaction():
            work = Work(self.db, "order")
            counter = _count(self.db)
            await by_message[type(messages[0])](work, arrived)
            await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn of the loop
            self.statements = counter()
        for call in work.callbacks:
            call()
        self.sent = work.outgoing
        self.parked = [entry.reason for entry in work.to_park]

    def sent_types(self) -> list[str]:
        return [message.type for message in self.sent]


def _count(db: "asyncpg.Connection[asyncpg.Record]") -> Callable[[], int]:
    seen: list[object] = []
    db.add_query_logger(seen.append)

    def stop() -> int:
        db.remove_query_logger(seen.append)
        return len(seen)

    return stop


@pytest.fixture
async def desk(migrated: Migrated) -> AsyncIterator[Desk]:
    db = await asyncpg.connect(await migrated(MIGRATIONS))
    timing = Timing(reservation=timedelta(minutes=30), step=timedelta(seconds=15))
    yield Desk(db, OrderHandlers(timing))
    await db.close()


def place(order_id: UUID | None = None, customer: str = "anna") -> PlaceOrder:
    line = CartLine(product_id=PRODUCT, quantity=2, price=100)
    return PlaceOrder(order_id=order_id or new_message_id(), customer_id=customer, lines=(line,))


def reserved(order_id: UUID) -> StockReserved:
    item = OrderItem(product_id=PRODUCT, name="Print", quantity=2, price=6000)
    return StockReserved(order_id=order_id, items=(item,), total=12000, currency="zar")
