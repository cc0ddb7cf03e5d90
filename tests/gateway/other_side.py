"""The rest of the system, scripted: hears what the gateway sends and says what it is told to."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from aiokafka import AIOKafkaConsumer

from contracts.inventory import Product, ProductCommandDone, ProductUpdated
from contracts.message import REGISTRY, Message
from contracts.order import OrderItem, OrderStatus, OrderUpdated, PaymentStatus, StatusChange
from contracts.topics import CUSTOMER_CONTACTS, INVENTORY_COMMANDS, ORDER_COMMANDS, STRIPE_WEBHOOKS
from services.kit.messages import Incoming, Record, decode
from services.kit.publisher import Publisher

M = TypeVar("M", bound=Message)
TOPICS = (ORDER_COMMANDS, INVENTORY_COMMANDS, CUSTOMER_CONTACTS, STRIPE_WEBHOOKS)
PATIENCE = 15.0


class OtherSide:
    def __init__(self, kafka: str) -> None:
        self._publisher = Publisher(kafka, "other-side")
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka, auto_offset_reset="latest", fetch_max_wait_ms=20
        )
        self._heard: list[Incoming[Any]] = []
        self._news = asyncio.Condition()

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.subscribe([topic.name for topic in TOPICS])
        while not self._consumer.assignment():  # noqa: ASYNC110  # aiokafka has no event for it
            await asyncio.sleep(0.05)
        for partition in self._consumer.assignment():
            await self._consumer.position(partition)
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._consumer.stop()
        await self._publisher.stop()

    async def _listen(self) -> None:
        async for record in self._consumer:
            incoming = decode(Record.of(record), REGISTRY)
            if not isinstance(incoming, Incoming):
                continue  # Of a test that shares these topics: the gateway's own are waited for.
            async with self._news:
                self._heard.append(incoming)
                self._news.notify_all()

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self._publisher.send(message)

    def all(self, kind: type[M], key: UUID | str) -> list[Incoming[M]]:
        return list(self._matching(kind, key))

    async def hear(self, kind: type[M], key: UUID | str, count: int = 1) -> list[Incoming[M]]:
        """Wait for that many messages."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: len(self.all(kind, key)) >= count)
        return self.all(kind, key)

    def _matching(self, kind: type[M], key: UUID | str) -> Iterator[Incoming[M]]:
        for incoming in self._heard:
            if isinstance(incoming.message, kind) and incoming.message.key == str(key):
                yield incoming

    async def answer(self, command: Incoming[Any], **answer: Any) -> None:
        """Inventory has done, or refused, a command of product administration."""
        await self.say(
            ProductCommandDone(
                product_id=command.message.product_id, command_id=command.envelope.id, **answer
            )
        )


NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


def history(*statuses: OrderStatus, by: str = "order-service") -> tuple[StatusChange, ...]:
    return tuple(
        StatusChange(old_status=old, new_status=new, changed_by=by, reason="told", created_at=NOW)
        for old, new in zip((None, *statuses), statuses, strict=False)
    )


def order(order_id: UUID, customer_id: str, version: int = 1, **fields: Any) -> OrderUpdated:
    """An order as the order service would tell it: pending, unless said otherwise."""
    status = fields.pop("status", OrderStatus.PENDING)
    steps = (
        (OrderStatus.PENDING,) if status is OrderStatus.PENDING else (OrderStatus.PENDING, status)
    )
    told: dict[str, Any] = {
        "payment_status": PaymentStatus.UNPAID,
        "total": 24000,
        "currency": "zar",
        "items": (OrderItem(product_id=order_id, name="Dunes", quantity=2, price=12000),),
        "payment": None,
        "history": history(*steps),
        "updated_by": "order-service",
        "admin_notes": None,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return OrderUpdated(
        order_id=order_id,
        customer_id=customer_id,
        version=version,
        status=status,
        **(told | fields),
    )


def product(product_id: UUID, version: int = 1, **fields: Any) -> Product:
    told: dict[str, Any] = {
        "name": "Dunes",
        "price": 12000,
        "currency": "zar",
        "available": True,
        "stock_quantity": 5,
    }
    return Product(product_id=product_id, version=version, **(told | fields))


def product_updated(shown: Product) -> ProductUpdated:
    return ProductUpdated(**shown.model_dump())
