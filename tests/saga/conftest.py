"""The world in memory, for the tests that need it."""

from collections.abc import Iterator

import pytest
import structlog

from tests.saga.tables import stand_in


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Handlers find the tables in memory, and do not log what thousands of worlds suffer."""
    stand_in(monkeypatch)
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.configure(**before)
