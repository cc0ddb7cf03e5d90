"""What a service says of its parked messages, on its dead-letter topic.

The messages themselves stay in the service's database: they may hold personal data, and only their
owner can handle them again.
"""

from datetime import datetime
from uuid import UUID

from contracts.message import Message, Value
from contracts.topics import DEAD_LETTERS, ORDER_DEAD_LETTERS, Topic


class DeadLetter(Value):
    """What every message on a dead-letter topic has."""

    service: str
    parked_id: int
    """The row in the service's `parked_messages`."""
    source_topic: str
    source_partition: int
    source_key: str | None

    @property
    def key(self) -> str:
        return self.source_key or f"{self.source_topic}-{self.source_partition}"

    @classmethod
    def topics(cls) -> tuple[Topic, ...]:
        return tuple(DEAD_LETTERS.values())

    @property
    def destination(self) -> Topic:
        return DEAD_LETTERS[self.service]


class MessageParked(
    DeadLetter, Message, type="dead-letters.message-parked.v1", topic=ORDER_DEAD_LETTERS
):
    """Where the parked record came from and why it could not be handled."""

    state: str
    """`parked`, or `waiting` behind an earlier message of the same key."""
    message_id: UUID | None
    message_type: str | None
    source_offset: int
    reason: str
    attempts: int
    parked_at: datetime


class ParkedMessageChanged(
    DeadLetter, Message, type="dead-letters.parked-message-changed.v1", topic=ORDER_DEAD_LETTERS
):
    """A parked message as it is after its change number `version`; parking it was number 1.

    Carries all that changes, so that a reader needs only the newest one. Changes that follow each
    other within a second may be told as one.
    """

    version: int
    state: str
    """`parked`: tried again and failed again. `replay`: to be tried. `replayed`, `discarded`."""
    reason: str
    """Why it could not be handled, the last time that it was tried."""
    attempts: int
    operation_id: UUID | None = None
    """The command that led here; None when somebody used the service's own tool."""
    changed_by: str | None = None
    change_reason: str | None = None
    at: datetime


class OperationAnswered(
    DeadLetter, Message, type="dead-letters.operation-answered.v1", topic=ORDER_DEAD_LETTERS
):
    """The answer to one ReplayParked or DiscardParked."""

    operation_id: UUID
    """The id of the command."""
    problem: str | None = None
    """Why nothing was changed; None when it was done as asked."""
