"""The hash chain of the audit, without I/O: what a hash covers, and what breaks a chain."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple, Self
from uuid import UUID

import orjson

GENESIS = bytes(32)
"""What the first record of a chain has for its predecessor's hash."""


class Entry(NamedTuple):
    """An audit record as it is hashed: everything that the table says of it."""

    topic: str
    partition: int
    position: int
    offset: int
    message_id: UUID
    type: str
    subject: str
    version: int | None
    action: str
    old_status: str | None
    new_status: str | None
    changed_by: str
    happened_at: datetime
    recorded_at: datetime
    payload: str

    def hash_after(self, previous: bytes) -> bytes:
        """SHA-256 over the predecessor's hash and all fields, as a JSON array."""
        fields = orjson.dumps(tuple(self), default=str, option=orjson.OPT_UTC_Z)
        return hashlib.sha256(previous + fields).digest()


class Link(NamedTuple):
    """An entry in its chain."""

    entry: Entry
    previous: bytes
    hash: bytes


class Head(NamedTuple):
    """Where a chain ends."""

    length: int = 0
    hash: bytes = GENESIS

    def add(self, entry: Entry) -> tuple[Link, Self]:
        """The link that `entry` becomes, at the next position, and the head after it."""
        placed = entry._replace(position=self.length + 1)
        digest = placed.hash_after(self.hash)
        return Link(placed, self.hash, digest), type(self)(placed.position, digest)


class Broken(NamedTuple):
    """A place at which a chain is not what was written."""

    topic: str
    partition: int
    position: int
    what: str
    subject: str | None = None


class Check:
    """Follows one chain from its beginning; `broken` says what was found."""

    def __init__(self, topic: str, partition: int) -> None:
        self._topic = topic
        self._partition = partition
        self._head = Head()

    def follow(self, links: Iterable[Link]) -> Iterator[Broken]:
        """The breaks among the next links, in the order of their positions."""
        for link in links:
            entry = link.entry
            missing = entry.position - self._head.length - 1
            if missing:
                yield self._broken(
                    self._head.length + 1, f"{missing} deleted before position {entry.position}"
                )
            elif link.previous != self._head.hash:
                yield self._broken(entry.position, "does not follow its predecessor", entry)
            if entry.hash_after(link.previous) != link.hash:
                yield self._broken(entry.position, "altered", entry)
            self._head = Head(entry.position, link.hash)

    def end(self, head: Head) -> Iterator[Broken]:
        """Whether the chain ends where it was last written."""
        if self._head.length < head.length:
            missing = head.length - self._head.length
            yield self._broken(self._head.length + 1, f"{missing} deleted at the end")
        elif self._head != head:
            yield self._broken(self._head.length, "not the end that was written")

    def _broken(self, position: int, what: str, entry: Entry | None = None) -> Broken:
        subject = entry.subject if entry else None
        return Broken(self._topic, self._partition, position, what, subject)
