"""PostgreSQL with the payment schema for all tests of this folder, and a Stripe stand-in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from services.kit.db import Pool, open_pool
from services.kit.migrate import migrate
from tests.payment.bench import Bench
from tests.stack import infrastructure
from tests.standin.process import StandinProcess, running

MIGRATIONS = Path(__file__).parents[2] / "services" / "payment" / "migrations"


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalStack]:
    with infrastructure() as stack:
        yield stack


@pytest.fixture(scope="session")
async def pool(servers: LocalStack) -> AsyncIterator[Pool]:
    dsn = servers.create_database("payment_rules")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn, size=4, application="payment-tests")
    yield pool
    await pool.close()


@pytest.fixture
async def bench(pool: Pool) -> Bench:
    """The service's handlers and workers on an empty queue."""
    async with pool.acquire() as db:
        await db.execute("TRUNCATE payments, refunds, stripe_calls, stripe_events, events_sent")
        await db.execute(
            """
            UPDATE reconciliation
               SET reached = now(), turn_at = '-infinity', lease_token = NULL
            """
        )
    return Bench(pool)


@pytest.fixture(scope="session")
async def shared_standin(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StandinProcess]:
    folder = tmp_path_factory.mktemp("payment-standin")
    async with running(folder / "stripe.sqlite3") as process:
        yield process


@pytest.fixture
async def standin(shared_standin: StandinProcess) -> AsyncIterator[StandinProcess]:
    """The stand-in that the tests share; every test finds it without faults."""
    yield shared_standin
    await shared_standin.control("DELETE", "/faults")
