"""`ops verify`: orders that went right are right, and what was made wrong by hand shows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from contracts.audit import InventoryAudited, OrderAudited, PaymentAudited, StockMove
from contracts.message import Message
from contracts.order import OrderStatus, PaymentStatus
from services.kit.lag import Lag
from services.kit.work import utc_now
from services.ops import checking
from services.ops.checking import NAMED, Check
from services.ops.store import checks
from services.ops.store.checks import Judged
from tests.flows.conftest import anna, client, paid, product, staff
from tests.flows.people import Person
from tests.ops.cli import Cli
from tests.ops.conftest import Watch, history
from tests.ops.test_bulk import updated
from tests.ops.test_observing import letter
from tests.ops.test_sagas import waits

__all__ = ["anna", "client", "product", "staff"]

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
PRODUCT = uuid4()


def order(order_id: UUID, state: str, status: str, *, refunded: int = 0) -> list[Message]:
    """An order as published and as audited, come to rest."""
    audited = OrderAudited(
        order_id=order_id,
        version=1,
        action="order.place-order.v1",
        old_status=None,
        new_status=OrderStatus(status),
        payment_status=PaymentStatus.PAID,
        saga_state=state,
        total=100,
        currency="eur",
        amount_refunded=refunded,
        changed_by="order-service",
        reason=None,
        admin_notes=None,
        at=NOON,
    )
    view = updated(order_id, OrderStatus(status)).model_copy(update={"amount_refunded": refunded})
    return [audited, view]


def payment(order_id: UUID, received: int, refunded: int = 0, version: int = 1) -> PaymentAudited:
    return PaymentAudited(
        order_id=order_id,
        version=version,
        action="stripe",
        old_status=None if version == 1 else "succeeded",
        new_status="succeeded",
        payment_intent_id="pi_1",
        amount=100,
        currency="eur",
        amount_received=received,
        amount_refunded=refunded,
        changed_by="stripe:call",
        reason=None,
        at=NOON,
    )


def stock(order_id: UUID, action: str, quantity: int = 0, at: datetime = NOON) -> InventoryAudited:
    moves = (StockMove(product_id=PRODUCT, quantity=quantity),) if quantity else ()
    return InventoryAudited(
        order_id=order_id,
        action=action,
        moves=moves,
        changed_by="order-service",
        reason=None,
        at=at,
    )


def sold(order_id: UUID) -> list[Message]:
    return [
        *order(order_id, "shipped", "shipped"),
        payment(order_id, 100),
        stock(order_id, "reserved", -2),
        stock(order_id, "committed"),
    ]


def cancelled_unpaid(order_id: UUID) -> list[Message]:
    return [
        *order(order_id, "cancelled", "cancelled"),
        stock(order_id, "reserved", -2),
        stock(order_id, "restored", 2),
    ]


def cancelled_before_anything(order_id: UUID) -> list[Message]:
    return [*order(order_id, "cancelled", "cancelled"), stock(order_id, "rejected")]


def cancelled_paid(order_id: UUID) -> list[Message]:
    return [
        *order(order_id, "archived_undone", "archived", refunded=100),
        payment(order_id, 100, 100),
        stock(order_id, "reserved", -2),
        stock(order_id, "committed"),
        stock(order_id, "restored", 2),
    ]


def refunded_and_kept(order_id: UUID) -> list[Message]:
    """The parcel stays with the customer; later the order is archived."""
    audited, view = order(order_id, "refunded", "refunded", refunded=100)
    end = audited.model_copy(
        update={
            "version": 2,
            "old_status": OrderStatus.REFUNDED,
            "new_status": OrderStatus.ARCHIVED,
            "saga_state": "archived_undone",
        }
    )
    archived = view.model_copy(update={"version": 2, "status": OrderStatus.ARCHIVED})
    rest = [payment(order_id, 100, 100), stock(order_id, "reserved", -2)]
    return [audited, end, archived, *rest, stock(order_id, "committed")]


def refunded_in_part(order_id: UUID) -> list[Message]:
    return [
        *order(order_id, "delivered", "delivered", refunded=30),
        payment(order_id, 100, 30),
        stock(order_id, "reserved", -2),
        stock(order_id, "committed"),
    ]


def under_way(order_id: UUID) -> list[Message]:
    """Nobody can say yet what is right."""
    return [*order(order_id, "reserving", "pending"), stock(order_id, "reserved", -2)]


RIGHT = [
    *(sold, cancelled_unpaid, cancelled_before_anything, cancelled_paid),
    *(refunded_and_kept, refunded_in_part, under_way),
]


async def test_what_went_right_is_right(watch: Watch) -> None:
    for story in RIGHT:
        await watch.hears(*story(uuid4()))
    assert await checks.judge_money(watch.pool, LATER, NAMED) == Judged(6, 0, [])
    assert await checks.judge_stock(watch.pool, LATER, NAMED) == Judged(6, 0, [])
    audit = await checking.check_audit(watch.pool, LATER)
    assert (audit.wrong, audit.findings) == (0, [])


MONEY: dict[str, Callable[[UUID], list[Message]]] = {
    "shipped, but 0 of 100 came in": lambda o: order(o, "shipped", "shipped"),
    "shipped, but 99 of 100 came in": lambda o: [
        *order(o, "shipped", "shipped"),
        payment(o, 99),
    ],
    "cancelled, but of 100 that came in, 0 went back": lambda o: [
        *order(o, "cancelled", "cancelled"),
        payment(o, 100),
    ],
    "refunded, but of 100 that came in, 40 went back": lambda o: [
        *order(o, "refunded", "refunded", refunded=40),
        payment(o, 100, 40),
    ],
    "shipped, but it tells of 0 refunded, its payment of 30": lambda o: [
        *order(o, "shipped", "shipped"),
        payment(o, 100, 30),
    ],
    "archived_undone, but of 100 that came in, 60 went back": lambda o: [
        *order(o, "archived_undone", "archived", refunded=60),
        payment(o, 100, 100),
        payment(o, 100, 60, version=2),  # the bank sent some of it back
    ],
}


@pytest.mark.parametrize("why", MONEY)
async def test_money_that_is_not_where_it_should_be_shows(watch: Watch, why: str) -> None:
    order_id = uuid4()
    await watch.hears(*sold(uuid4()), *MONEY[why](order_id))
    judged = await checks.judge_money(watch.pool, LATER, NAMED)
    assert judged == Judged(2, 1, [f"{order_id} is {why}"])


STOCK: dict[str, Callable[[UUID], list[Message]]] = {
    "shipped, but nothing was reserved": lambda o: order(o, "shipped", "shipped"),
    "shipped, but nothing was committed": lambda o: [
        *order(o, "shipped", "shipped"),
        stock(o, "reserved", -2),
    ],
    "shipped, but its stock came back": lambda o: [
        *order(o, "shipped", "shipped"),
        stock(o, "reserved", -2),
        stock(o, "committed"),
        stock(o, "restored", 2),
    ],
    "cancelled, but 2 pieces did not come back": lambda o: [
        *order(o, "cancelled", "cancelled"),
        stock(o, "reserved", -2),
        stock(o, "committed"),
    ],
    "refunded, but 1 pieces did not come back": lambda o: [
        *order(o, "refunded", "refunded"),
        stock(o, "reserved", -2),
        stock(o, "committed"),
        stock(o, "restored", 1),
    ],
    "archived_undone, but 2 pieces did not come back": lambda o: [
        *order(o, "archived_undone", "archived"),  # was never refunded
        stock(o, "reserved", -2),
        stock(o, "committed"),
    ],
}


@pytest.mark.parametrize("why", STOCK)
async def test_stock_that_is_not_where_it_should_be_shows(watch: Watch, why: str) -> None:
    order_id = uuid4()
    await watch.hears(*sold(uuid4()), *STOCK[why](order_id))
    judged = await checks.judge_stock(watch.pool, LATER, NAMED)
    assert judged == Judged(2, 1, [f"{order_id} is {why}"])


async def test_what_may_be_on_its_way_is_left_out(watch: Watch) -> None:
    late = stock(order_id := uuid4(), "reserved", -2, at=LATER)
    await watch.hears(*order(order_id, "shipped", "shipped"), late)
    assert (await checks.judge_stock(watch.pool, LATER - timedelta(seconds=1), NAMED))[:2] == (0, 0)
    assert (await checks.judge_stock(watch.pool, LATER, NAMED))[:2] == (1, 1)
    before = NOON - timedelta(seconds=1)
    assert await checks.judge_money(watch.pool, before, NAMED) == Judged(0, 0, [])


async def test_the_first_ten_are_named_and_all_are_counted(watch: Watch) -> None:
    wrong = sorted(uuid4() for _ in range(NAMED + 5))
    await watch.hears(*(m for each in wrong for m in order(each, "shipped", "shipped")))
    for judge in (checks.judge_money, checks.judge_stock):
        judged = await judge(watch.pool, LATER, NAMED)
        assert (judged.wrong, len(judged.first)) == (NAMED + 5, NAMED)
        assert [each.partition(" ")[0] for each in judged.first] == list(map(str, wrong[:NAMED]))


async def test_a_payload_that_was_made_unreadable_is_wrong_and_stops_nothing(watch: Watch) -> None:
    await watch.hears(*sold(uuid4()))
    await watch.tamper("UPDATE audit_records SET payload = 'x' WHERE topic <> 'audit.order'")
    assert (await checks.judge_money(watch.pool, LATER, NAMED)).wrong == 1
    assert (await checking.check_audit(watch.pool, LATER)).wrong == 3
    strange = '{"moves": {}, "amount_received": "much"}'
    await watch.tamper("UPDATE audit_records SET payload = $1", strange)
    for judge in (checks.judge_money, checks.judge_stock):
        check = await checking.check_orders("x", judge, watch.pool, LATER)
        assert (check.wrong, "cannot be read" in check.findings[0]) == (1, True)


async def test_a_record_that_was_taken_out_shows(watch: Watch) -> None:
    await watch.hears(*sold(uuid4()))
    await watch.tamper("DELETE FROM audit_records WHERE topic = 'audit.order'")
    audit = await checking.check_audit(watch.pool, LATER)
    assert audit.wrong == 2
    assert "deleted" in audit.findings[0]


async def test_who_waits_too_long_shows(watch: Watch) -> None:
    short, long = uuid4(), uuid4()
    await watch.hears(*under_way(short), *under_way(long))
    await watch.owner.execute(
        "UPDATE orders SET saga_since = $2 WHERE order_id = $1", long, NOON - timedelta(hours=1)
    )
    found = await checking.check_waiting(watch.pool, NOON, timedelta(minutes=1))
    assert (found.looked_at, found.wrong) == (2, 1)
    assert str(long) in found.findings[0]


async def test_what_is_parked_shows(watch: Watch) -> None:
    assert (await checking.check_dead_letters(watch.pool)).wrong == 0
    parked = letter(17)
    await watch.hears(parked, letter(18, state="waiting", source_key=parked.source_key))
    found = await checking.check_dead_letters(watch.pool)
    assert (found.wrong, len(found.findings)) == (2, 2)
    assert found.findings[0].startswith("payment/17 of order")


async def test_an_order_that_cannot_be_advanced_shows(watch: Watch) -> None:
    assert (await checking.check_failing(watch.pool, utc_now())).wrong == 0
    placed = history(versions=1)[0]
    await watch.hears(placed, waits(placed, 0, stuck_reason="lines: not JSON"))
    found = await checking.check_failing(watch.pool, utc_now())
    assert found.wrong == 1
    assert found.findings == [f"order {placed.order_id} cannot be advanced: lines: not JSON"]


async def test_a_broker_that_does_not_answer_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(checking, "group_lags", away)
    found = await checking.check_lag("nobody:1", 10)
    assert (found.wrong, found.findings) == (1, ["the broker does not say: nobody there"])


async def test_who_is_behind_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behind(*_: Any) -> list[Lag]:
        return [Lag("order", "order.commands", 3, 12.0), Lag("ops", "order.events", 1, 0.5)]

    monkeypatch.setattr(checking, "group_lags", behind)
    told = "order is 3 records and 12 s behind on order.commands"
    assert await checking.check_lag("", 10) == Check("lag", 2, "topics of services", 1, [told])


async def test_the_command_line_says_what_the_service_found(
    cli: Cli, anna: Person, product: str
) -> None:
    await paid(anna, product)
    told = await cli.run("verify", "--json")
    assert told.code in (0, 1), told.err
    names = [row["name"] for row in told.json]
    assert names == ["audit", "money", "stock", "waiting", "failing", "dead letters", "lag"]
    assert told.code == int(any(row["wrong"] for row in told.json))
    strict = await cli.run("verify", "--settled-seconds", "0", role="viewer")
    assert "orders at rest" in strict.out
    assert (await cli.run("verify", "--lag-seconds", "-1")).code == 2
