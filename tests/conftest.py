"""Fixtures that all tests share: real servers, fresh databases."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from deploy.local.stack import LocalStack
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


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """The whole system, one process of each service."""
    with running_stack() as running:
        yield running
