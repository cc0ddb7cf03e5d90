"""Whatever comes, in whatever order and however often: each order once, and the books add up."""

import random
from collections.abc import Sequence
from uuid import UUID

import pytest

from contracts.audit import InventoryAudited
from contracts.inventory import (
    AdjustStock,
    CommitStock,
    ReserveStock,
    RestoreStock,
    StockRejected,
    StockReserved,
    StockRestored,
)
from contracts.message import Message
from tests.inventory.conftest import HANDLERS, Shop, adjust, only, put, reserve, restore


class Model:
    """What must have become of each order and product, kept beside the service."""

    def __init__(self) -> None:
        self.stock: dict[UUID, int] = {}
        self.orders: dict[UUID, str] = {}
        self.lines: dict[UUID, dict[UUID, int]] = {}

    def hear(self, batch: Sequence[Message]) -> list[type[Message]]:
        """The kinds of answers. Each handler gets its messages at once: first the handler of the
        first message."""
        answers: list[type[Message]] = []
        for handler in dict.fromkeys(HANDLERS[type(message)] for message in batch):
            for message in batch:
                if HANDLERS[type(message)] == handler:
                    answers += self._hear(message)
        return answers

    def _hear(self, message: Message) -> list[type[Message]]:
        match message:
            case ReserveStock():
                return [self.reserve(message)]
            case RestoreStock():
                self.restore(message.order_id)
                return [StockRestored]
            case CommitStock():
                self.commit(message.order_id)
            case AdjustStock():
                self.adjust(message.product_id, message.delta)
        return []

    def reserve(self, command: ReserveStock) -> type[Message]:
        order_id = command.order_id
        if order_id not in self.orders:
            lines = {line.product_id: line.quantity for line in command.lines}
            if all(self.stock[product] >= wanted for product, wanted in lines.items()):
                self._move(lines, -1)
                self.orders[order_id], self.lines[order_id] = "held", lines
            else:
                self.orders[order_id] = "rejected"
        return StockReserved if self.orders[order_id] in ("held", "committed") else StockRejected

    def commit(self, order_id: UUID) -> None:
        if self.orders.get(order_id) == "held":
            self.orders[order_id] = "committed"

    def restore(self, order_id: UUID) -> None:
        if self.orders.get(order_id) in ("held", "committed"):
            self._move(self.lines[order_id], 1)
        if self.orders.get(order_id) != "rejected":
            self.orders[order_id] = "restored"

    def adjust(self, product: UUID, delta: int) -> None:
        if self.stock[product] + delta >= 0:
            self.stock[product] += delta

    def _move(self, lines: dict[UUID, int], sign: int) -> None:
        for product, quantity in lines.items():
            self.stock[product] += sign * quantity


@pytest.mark.parametrize(
    "seed", [1, 2, 3, pytest.param(random.randrange(1_000_000), id="by-chance")]
)
async def test_any_order_of_commands(shop: Shop, seed: int) -> None:
    print(f"seed {seed}")
    chance = random.Random(seed)
    model = Model()
    for _ in range(4):
        model.stock[await shop.product(25)] = 25
    products = list(model.stock)
    commands = [
        reserve({p: chance.randint(1, 4) for p in chance.sample(products, chance.randint(1, 3))})
        for _ in range(40)
    ]
    restorations = 0
    for _ in range(60):
        batch = _batch(chance, commands, products)
        sent = await shop.hear(*batch)
        restorations += len(
            [audit for audit in only(InventoryAudited, sent) if audit.action == "restored"]
        )
        answers = [m for m in sent if isinstance(m, StockReserved | StockRejected | StockRestored)]
        assert [type(answer) for answer in answers] == model.hear(batch)
        assert {product: await shop.stock(product) for product in products} == model.stock

    for command in commands:
        state = model.orders.get(command.order_id)
        rows = set(await shop.states(command.order_id))
        if state in ("held", "committed"):
            assert rows == {state}
        else:
            assert rows <= {"restored"}
    once = await shop.db.fetchval(
        "SELECT count(*) FROM reservation_orders WHERE state = 'restored' AND order_id = ANY($1)",
        [command.order_id for command in commands],
    )
    assert restorations == once, "each restoration is audited once"
    await shop.assert_books_add_up()


def _batch(
    chance: random.Random, commands: Sequence[ReserveStock], products: Sequence[UUID]
) -> list[Message]:
    """A wave: some commands of different orders, among them repeats, and some of staff."""
    batch: list[Message] = []
    for command in chance.sample(commands, chance.randint(1, 8)):
        undo, sell = restore(command.order_id), CommitStock(order_id=command.order_id)
        batch.append(chance.choice([command, command, sell, undo]))
    some = chance.sample(products, chance.randint(0, 2))
    batch += [adjust(product, chance.randint(-9, 9)) for product in some[:1]]
    batch += [put(product) for product in some[1:]]
    chance.shuffle(batch)
    return batch
