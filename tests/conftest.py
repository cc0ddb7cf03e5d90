"""Fixtures that all tests share: real servers, fresh databases."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
from services.kit.migrate import migrate
from tests.stack import infrastructure, running_stack


@pytest.fixture(scope="session")
def servers() -> Iterator[LocalStack]:
    """Kafka and PostgreSQL, without services."""
    with infrastructure() as stack:
        yield stack


@pytest.fixture
def database(servers: LocalStack) -> str:
    """The DSN of a database that nothing has touched."""
    return servers.create_database(f"test_{uuid4().hex[:12]}")


Migrated = Callable[[Path], Awaitable[str]]


@pytest.fixture(scope="session")
def migrated(servers: LocalStack) -> Migrated:
    """Gives the DSN of a fresh database with the schema of these migrations, which are applied once
    and then copied: a test of a store does not wait for a dozen of them."""
    templates: dict[Path, str] = {}

    async def database(migrations: Path) -> str:
        if migrations not in templates:
            template = f"template_{uuid4().hex[:12]}"
            await migrate(servers.create_database(template), migrations)
            templates[migrations] = template
        return servers.create_database(f"test_{uuid4().hex[:12]}", templates[migrations])

    return database


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The whole system, one process of each service."""
    with running_stack() as running:
        yield running
