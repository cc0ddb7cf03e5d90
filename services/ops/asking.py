"""What people ask for has a reason, and an id of their choice: asking twice does it once."""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import StringConstraints

from contracts.message import is_uuid7, sent_at_ms

FRESH_FOR: Final = timedelta(days=1)
"""How old a new id may be: no service takes a command older than its inbox."""


LONGEST_REASON: Final = 500
Reason = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=LONGEST_REASON, pattern=r"^[^\x00]+$"
    ),
]
"""Why; kept with the name of who asks."""


class UnusableId(ValueError):  # noqa: N818  # an answer more than an error
    """The id that was chosen cannot be a new one."""


class OtherRequest(ValueError):  # noqa: N818
    """The id is that of a request that says something else."""


def check_new(chosen: UUID, now: datetime) -> None:
    """Raises UnusableId, unless it is a UUIDv7 of the last day."""
    if not is_uuid7(chosen):
        raise UnusableId("the id is not a UUIDv7")
    age = now.timestamp() - sent_at_ms(chosen) / 1000
    if abs(age) > FRESH_FOR.total_seconds():
        raise UnusableId("the id was not made within the last day")
