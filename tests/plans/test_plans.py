"""What a statement of a start, a sweep, a timer or housekeeping costs must not grow with the table.

Each is run as the service runs it, on a database with many finished rows, and its plan is read.
The connection plans as those of the services do (`kit.db`).
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import pytest

import services
from services.gateway.store import keys
from services.gateway.store import products as gateway_products
from services.inventory import product_store
from services.kit import inbox, operations, parking
from services.kit.work import utc_now
from services.notification import store as notification
from services.ops.rules import OPEN_STATES, WAITS_FOR
from services.ops.store import adjustments, audit, letters, orders, sagas, stock, timeline
from services.ops.store import operations as ops_operations
from services.order import store as order
from services.order import stuck_store
from services.payment import store as payment
from services.payment import turns
from tests.conftest import Migrated
from tests.plans.explaining import Explaining
from tests.plans.generated import GENERATED, OPEN, ROWS

NOW: Final = utc_now()
LONG_AGO: Final = NOW - timedelta(days=400)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
PAGE: Final = 1000
MOST_READ: Final = 10 * PAGE
"""Rows that one statement may read: a tenth of the smallest table that grows."""

GROWING: Final = {
    *("orders", "order_status_history", "parked_messages", "payments", "refunds", "stripe_events"),
    *("events_sent", "products", "mails", "contacts", "idempotency_keys", "command_answers"),
    *("messages", "operations", "stock_adjustments", "letters", "audit_records", "inbox"),
}
"""Tables that grow with the orders of a shop, or with the messages about them. Not among them are
queues, which hold what is not done yet (`outbox`, `stripe_calls`), and `stock`, which has a row for
each product."""

Run = Callable[[Any], Awaitable[Any]]


async def stuck_due(db: Any) -> None:
    await stuck_store.make_stuck_due(db, NOW)


STATEMENTS: Final[dict[tuple[str, str], Run]] = {
    # -- start
    ("order", "retry_stuck"): stuck_due,
    # -- sweeps
    ("order", "lock_due_orders"): lambda db: order.lock_due_orders(db, NOW, MINUTE, 500),
    ("order", "flag_stuck"): lambda db: stuck_store.flag_stuck(
        db, {UUID(int=1): "x"}, NOW, SECOND, MINUTE
    ),
    ("order", "replayable_dead_letters"): lambda db: stuck_store.replayable_dead_letters(
        db, ["unknown saga state"], 500
    ),
    ("order", "in_known_states"): lambda db: stuck_store.in_known_states(db, [UUID(int=1)]),
    ("order", "replay"): lambda db: stuck_store.replay(db, [1, 2]),
    ("payment", "due_checks"): lambda db: payment.due_checks(db, NOW - MINUTE, NOW, MINUTE, 25),
    ("payment", "known_events"): lambda db: turns.known_events(db, ["evt_1", "evt_2"]),
    ("payment", "note_sent"): lambda db: turns.note_sent(db, ["evt_new"], NOW),
    ("inventory", "lock_unpublished"): lambda db: product_store.lock_unpublished(
        db, NOW, settle_after=SECOND, limit=PAGE
    ),
    ("inventory", "mark_published"): lambda db: product_store.mark_published(
        db, [UUID(int=1)], NOW
    ),
    ("notification", "claim_mails"): lambda db: notification.claim_mails(db, 10, MINUTE, uuid4()),
    ("notification", "park_stale_mails"): lambda db: notification.park_stale_mails(db, LONG_AGO),
    ("ops", "lock_uncounted"): lambda db: stock.lock_uncounted(db),
    ("ops", "read_uncounted"): lambda db: stock.read_uncounted(db, {0: ROWS - OPEN}, 500),
    ("ops", "read_counted"): lambda db: stock.read_counted(db, {0: ROWS}, [str(UUID(int=1))]),
    # -- measuring
    ("order", "count_stuck"): stuck_store.count_stuck,
    ("payment", "count_disputed"): payment.count_disputed,
    ("payment", "seconds_of_silence"): turns.seconds_of_silence,
    ("payment", "seconds_behind"): lambda db: turns.seconds_behind(db, "events"),
    ("notification", "count_mails"): notification.count_mails,
    ("ops", "count_states"): lambda db: orders.count_states(db, OPEN_STATES, NOW),
    ("ops", "count_open"): letters.count_open,
    ("ops", "list_stuck"): lambda db: sagas.list_stuck(db, list(WAITS_FOR), NOW, 100, failing=True),
    ("ops", "count_failing"): sagas.count_failing,
    # -- housekeeping
    ("payment", "forget_events"): lambda db: payment.forget_events(db, LONG_AGO, PAGE),
    ("notification", "forget_contacts"): lambda db: notification.forget_contacts(
        db, LONG_AGO, PAGE
    ),
    ("notification", "forget_mails"): lambda db: notification.forget_mails(db, LONG_AGO, PAGE),
    ("gateway", "forget_expired_keys"): lambda db: keys.forget_expired_keys(db, PAGE),
    ("gateway", "forget_answers"): lambda db: gateway_products.forget_answers(
        db, timedelta(days=1), PAGE
    ),
    ("ops", "forget_messages"): lambda db: timeline.forget_messages(db, LONG_AGO, PAGE),
    ("ops", "give_up"): lambda db: ops_operations.give_up(db, timedelta(days=7)),
    ("ops", "give_up_adjustments"): lambda db: adjustments.give_up_adjustments(
        db, timedelta(days=7)
    ),
    # -- the proof of the audit, page by page
    ("ops", "end_of_audit_page"): lambda db: audit.end_of_page(db, str(UUID(int=1)), PAGE),
    ("ops", "find_gaps"): lambda db: audit.find_gaps(db, page_of(1), page_of(PAGE), 100),
    ("ops", "end_of_orders_page"): lambda db: orders.end_of_page(db, UUID(int=1), PAGE),
    ("ops", "find_differences"): lambda db: orders.find_differences(
        db, UUID(page_of(1)), UUID(page_of(PAGE)), NOW, 100
    ),
    # -- the kit, in every service
    ("order", "find_due"): parking._find_due,
    ("order", "count_parked"): parking._measure,
    ("order", "take_untold"): operations._take_untold,
    ("order", "maintain_inbox"): lambda db: inbox.maintain(db, timedelta(days=14)),
}
"""By service and name, as the service calls them."""


def page_of(number: int) -> str:
    return f"01890000-0000-7000-8000-{number:012x}"


@pytest.fixture(scope="module")
def databases() -> dict[str, str]:
    return {}


@pytest.fixture
async def connect(
    migrated: Migrated, databases: dict[str, str]
) -> AsyncIterator[Callable[[str], Awaitable[Explaining]]]:
    opened: list[Any] = []

    async def open_database(service: str) -> Explaining:
        if service not in databases:
            folder = Path(services.__path__[0]) / service / "migrations"
            databases[service] = await _generate(await migrated(folder), service)
        db = await asyncpg.connect(databases[service])
        await db.execute("SET plan_cache_mode = force_generic_plan")
        transaction = db.transaction()
        await transaction.start()
        opened.append((db, transaction))
        return Explaining(db)

    yield open_database
    for db, transaction in opened:
        await transaction.rollback()
        await db.close()


async def _generate(dsn: str, service: str) -> str:
    db = await asyncpg.connect(dsn, command_timeout=600)
    await db.execute("SET session_replication_role = replica")  # without triggers
    for statement in (*GENERATED["kit"], *GENERATED[service]):
        await db.execute(statement)
    await db.execute("VACUUM ANALYZE")
    await db.close()
    return dsn


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("service", "name"), STATEMENTS, ids=map(".".join, STATEMENTS))
async def test_what_a_statement_costs_does_not_grow_with_the_table(
    connect: Callable[[str], Awaitable[Explaining]], service: str, name: str
) -> None:
    db = await connect(service)
    await STATEMENTS[service, name](db)
    assert db.plans
    for plan in db.plans:
        assert not plan.scanned_in_full() & GROWING, plan.sql
        assert plan.rows_read() <= MOST_READ, plan.sql


async def test_a_statement_that_reads_a_whole_table_is_found(
    connect: Callable[[str], Awaitable[Explaining]],
) -> None:
    """As the start of the order service once did, and as a filter behind an index does."""
    db = await connect("order")
    await db.fetch("SELECT DISTINCT saga_state FROM orders")
    await db.fetch("SELECT id FROM orders WHERE id > $1 AND status = 'x' ORDER BY id", UUID(int=0))
    first, second = db.plans
    assert first.scanned_in_full() == {"orders"}
    assert second.rows_read() > MOST_READ
