"""The time of a service: its database's clock, counted on between two looks.

Deadlines are written by one process and read by another. If each went by its own clock, one that is
wrong by hours would let everybody's reservation expire at once. All replicas of a service share one
database, so they share its time; a process only counts the seconds since it last asked.
"""

import time
from datetime import datetime, timedelta
from typing import Final

from services.kit.db import Connection

ASK_EVERY: Final = 5.0
"""Seconds. A process that stood still has lost no more than this."""


class DatabaseClock:
    """The same in every process of a service, to within milliseconds."""

    def __init__(self) -> None:
        self._asked: float | None = None
        self._answer: datetime

    async def now(self, db: Connection) -> datetime:
        """The time in UTC; asks the database now and then."""
        elapsed = time.monotonic()
        if self._asked is None or elapsed - self._asked > ASK_EVERY:
            self._answer = await db.fetchval("SELECT clock_timestamp()")
            self._asked = elapsed = time.monotonic()
        return self._answer + timedelta(seconds=elapsed - self._asked)
