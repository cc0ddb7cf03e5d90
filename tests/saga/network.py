"""A network that errs: records wait, come late, twice or never. `world` says what is modelled."""

from collections import defaultdict, deque
from collections.abc import Collection

from contracts.message import new_message_id
from services.kit.messages import Outgoing

Place = tuple[str, str]
"""A topic and a key: what comes from there comes in order."""


class Network:
    """`topics` are those that somebody reads; the rest is only remembered."""

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = frozenset(topics)
        self._queues: dict[Place, deque[Outgoing]] = defaultdict(deque)
        self.late: list[Outgoing] = []
        """Records that are still to be published: copies, and what a crash left in an outbox."""
        self.published: list[Outgoing] = []

    def publish(self, record: Outgoing) -> None:
        self.published.append(record)
        if record.topic in self._topics:
            self._queues[record.topic, record.key].append(record)

    def waiting(self) -> list[Place]:
        """Where something is."""
        return [place for place, queue in self._queues.items() if queue]

    def first(self, place: Place) -> Outgoing:
        return self._queues[place][0]

    def take(self, place: Place) -> Outgoing:
        return self._queues[place].popleft()

    def copy(self, place: Place, *, same_id: bool) -> None:
        """The first record there also comes late: as it is, or as another message."""
        record = self.first(place)
        self.late.append(record if same_id else record._replace(message_id=str(new_message_id())))

    def delay(self, place: Place) -> None:
        """The first record there comes late, and is overtaken by those behind it."""
        self.late.append(self.take(place))

    def publish_late(self, number: int = 0) -> None:
        self.publish(self.late.pop(number))
