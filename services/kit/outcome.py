"""What became of messages that were given to Kafka, and which error blames whom."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from services.kit.messages import Outgoing


class UnknownTopicError(KafkaError):  # type: ignore[misc]
    """The broker does not have the topic."""


@dataclass(slots=True)
class Outcome:
    """What was not acknowledged; empty when all was."""

    left: dict[TopicPartition, list[Outgoing]] = field(default_factory=dict)
    """To be published later, by partition, in this order."""
    reasons: dict[TopicPartition, str] = field(default_factory=dict)
    refused: list[tuple[Outgoing, str]] = field(default_factory=list)
    """What Kafka will never take as it is, each with the reason."""

    @property
    def count(self) -> int:
        """How many messages were not acknowledged."""
        return sum(map(len, self.left.values())) + len(self.refused)

    def leave(self, place: TopicPartition, group: Sequence[Outgoing], reason: str) -> None:
        self.left.setdefault(place, []).extend(group)
        self.reasons.setdefault(place, reason)

    def first_reason(self) -> str | None:
        """Why something was not acknowledged; None if all was."""
        reasons = [*self.reasons.values(), *(reason for _, reason in self.refused)]
        return reasons[0] if reasons else None


def blames_message(error: BaseException) -> bool:
    """Whether one message of the group is the culprit: no repetition helps."""
    return isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError)


def blames_partition(error: BaseException) -> bool:
    """Whether the broker answered, and refused for this partition."""
    return isinstance(error, BrokerResponseError | UnknownTopicError)


def blames_producer(error: BaseException) -> bool:
    """Whether the producer may hold the batch still, or has lost count of the partition's."""
    return not isinstance(error, UnknownTopicError)


def text_of(error: BaseException) -> str:
    return repr(error) if str(error) else type(error).__name__
