"""Reading rows of a view, each by itself: one that cannot be read must not take a list along.

Such a row was changed by hand, or a newer release wrote what this one does not know.
"""

from collections.abc import Callable
from typing import Final, TypeVar
from uuid import UUID

from prometheus_client import Counter
from pydantic import ValidationError

from services.kit.telemetry import log

UNREADABLE_ROWS: Final = Counter(
    "orderflow_gateway_rows_unreadable_total",
    "Rows of a view that a list left out, as they cannot be read",
    ["view"],
)

T = TypeVar("T")


def readable(view: str, row_id: UUID, read: Callable[[], T]) -> T | None:
    """What `read` returns; None, counted and logged, when the row is not valid."""
    try:
        return read()
    except ValidationError as error:
        UNREADABLE_ROWS.labels(view).inc()
        # Never the values: they may hold what logs must not.
        fields = sorted({".".join(map(str, each["loc"])) for each in error.errors()})
        log.error("a row of the view cannot be read", view=view, id=str(row_id), fields=fields)
        return None
