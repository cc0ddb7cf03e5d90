"""What people ask of a service's parked messages: the same commands for every service.

Each is answered by OperationAnswered on the service's dead-letter topic; what comes of it is told
there, too, by ParkedMessageChanged.
"""

from typing import Annotated

from pydantic import Field

from contracts.message import Message, Value
from contracts.topics import OPERATIONS, ORDER_OPERATIONS, Topic


class ParkedOperation(Value):
    """One parked message as the person who asks has seen it."""

    service: str
    parked_id: int
    attempts: int
    """How often it had been tried when the person looked: the command is refused when it has been
    tried again since, so that two people who ask for the same do it once."""
    requested_by: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    @property
    def key(self) -> str:
        """Never the parked message's own key: under that the command would wait behind it."""
        return f"{self.service}-{self.parked_id}"

    @classmethod
    def topics(cls) -> tuple[Topic, ...]:
        return tuple(OPERATIONS.values())

    @property
    def destination(self) -> Topic:
        return OPERATIONS[self.service]


class ReplayParked(
    ParkedOperation, Message, type="operations.replay-parked.v1", topic=ORDER_OPERATIONS
):
    """Handle the message again. What waits behind it follows when that succeeds."""


class DiscardParked(
    ParkedOperation, Message, type="operations.discard-parked.v1", topic=ORDER_OPERATIONS
):
    """Close the message without handling it. What waits behind it is handled next."""
