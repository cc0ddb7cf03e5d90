"""Time that a restore from a backup undid, and the records of it that count no more.

A database that is put back to a moment has forgotten what was decided since, while Kafka still
holds it: the order service would number the versions of an order anew, and whoever heard the old
ones would take the new ones for old. So what services told each other in that time is passed over.
What people and Stripe said in it is read again, and decided anew.

`deploy/compose/restore.sh` writes the spans into a setting of each database, where they come and go
with its backups.
"""

from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from services.kit.db import Connection, Pool

_FROM_OUTSIDE = (b"gateway", b"ops")
"""These decide nothing: they hand on what customers, staff and Stripe said."""


class Undone:
    """Spans of time, each from the last commit that is in the backup to the restore."""

    def __init__(self, spans: str) -> None:
        """`spans`: pairs of times in ISO 8601, `FROM/UNTIL`, with commas between the pairs.

        Raises:
            ValueError: they are not.
        """
        self._spans = [_milliseconds(span) for span in spans.split(",") if span]

    @property
    def latest(self) -> datetime:
        """The end of the last span, in UTC; the year 1 if there is none."""
        if not self._spans:
            return datetime.min.replace(tzinfo=UTC)
        return datetime.fromtimestamp(max(end for _, end in self._spans) / 1000, UTC)

    def covers(self, record: "ConsumerRecord[bytes, bytes]") -> bool:
        """Whether the record was sent by a service that has forgotten it. One that names no sender
        is no message of ours, and is looked at by those who park it."""
        if not any(begin < record.timestamp <= end for begin, end in self._spans):
            return False
        source = next((value for name, value in record.headers if name == "ce_source"), None)
        return source is not None and source not in _FROM_OUTSIDE


def _milliseconds(span: str) -> tuple[int, int]:
    begin, end = (datetime.fromisoformat(time) for time in span.split("/"))
    if begin.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"a time without its zone: {span}")
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)


async def undone_time(db: "Connection | Pool") -> Undone:
    """What the database says of its restores.

    Raises:
        ValueError: its setting `orderflow.undone` is not one.
    """
    said = await db.fetchval("SELECT current_setting('orderflow.undone', true)")
    return Undone(said or "")
