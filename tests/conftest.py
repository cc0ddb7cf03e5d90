"""What all tests share: real servers, fresh databases, and how tests are spread over processes."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from xdist.scheduler import LoadScopeScheduling

from deploy.local.stack import LocalStack
from services.kit.migrate import migrate
from tests.stack import infrastructure, running_stack

SERVER_FIXTURES = frozenset({"servers", "stack", "beaten", "standin", "shared_standin"})
"""Fixtures that start servers, or use those of an earlier test."""

WITH_SERVERS = (
    "tests/faults/test_seeds",
    "tests/faults/test_upgrade",
    "tests/gateway/test_away",
    "tests/standin/",
)
"""Beginnings of paths of tests that start servers without these fixtures."""

LONGEST_FIRST = (
    "tests/faults/test_upgrade.py",
    "tests/faults/test_seeds.py",
    "tests/crash/test_crash_points.py",
    "tests/crash/",
    "tests/payment/test_missed_webhooks.py",
    "tests/flows/",
    "tests/kit/",
    "tests/ops/test_",
)
"""Beginnings of paths. What takes long begins first, so that no process works alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that need servers, and puts those first that take long."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & SERVER_FIXTURES or item.nodeid.startswith(WITH_SERVERS):
            item.add_marker(pytest.mark.servers)
    items.sort(key=_rank)


class _GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Runs the tests of a group in one process, in their order.

    Files are groups, so that the fixtures of a module are made once; tests on the same running
    system share a process for the same reason. Runs of the fault harness follow each other: two at
    once take longer than one after the other. By the path alone: the groups that tests are marked
    with (`xdist_group`) do not arrive with pytest 9.2 and pytest-xdist 3.8.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        for beginning in ("tests/faults/", "tests/crash/", "tests/flows/"):
            if path.startswith(beginning):
                return beginning
        return "running system of ops" if path.endswith("_system.py") else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _GroupScheduling:
    """Called by pytest-xdist where there are several processes."""
    return _GroupScheduling(config, log)


def _rank(item: pytest.Item) -> int:
    """Earlier for what takes longer; the order within a rank stays."""
    for rank, beginning in enumerate(LONGEST_FIRST):
        if item.nodeid.startswith(beginning):
            return rank
    return len(LONGEST_FIRST)


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
