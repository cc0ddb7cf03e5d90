"""Messages as a service receives them, without Kafka in between."""

from typing import Any

from contracts.message import Envelope, Message
from services.kit.messages import Incoming, Outgoing, Record
from services.kit.work import utc_now


def outgoing(message: Message) -> Outgoing:
    """A message as somebody would send it now."""
    return Outgoing.of(message, source="test", time=utc_now().isoformat())


def incoming(message: Message) -> Incoming[Any]:
    """The same message as it arrives."""
    sent = outgoing(message)
    envelope = Envelope.parse(sent.kafka_headers())
    return Incoming(message, envelope, Record(sent.topic, 0, 0, sent.key, (), b""))
