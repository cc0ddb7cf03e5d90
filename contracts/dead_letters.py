"""The announcement that a message was parked, on the dead-letter topic of the service.

The message itself stays in the service's database: it may hold personal data, and only its owner
can replay it.
"""

from datetime import datetime
from uuid import UUID

from contracts.message import Message
from contracts.topics import DEAD_LETTERS, ORDER_DEAD_LETTERS, Topic


class MessageParked(Message, type="dead-letters.message-parked.v1", topic=ORDER_DEAD_LETTERS):
    """Where the parked record came from and why it could not be handled."""

    service: str
    parked_id: int
    """The row in the service's `parked_messages`."""
    state: str
    """`parked`, or `waiting` behind an earlier message of the same key."""
    message_id: UUID | None
    message_type: str | None
    source_topic: str
    source_partition: int
    source_offset: int
    source_key: str | None
    reason: str
    attempts: int
    parked_at: datetime

    @property
    def key(self) -> str:
        return self.source_key or f"{self.source_topic}-{self.source_partition}"

    @classmethod
    def topics(cls) -> tuple[Topic, ...]:
        return tuple(DEAD_LETTERS.values())

    @property
    def destination(self) -> Topic:
        return DEAD_LETTERS[self.service]
