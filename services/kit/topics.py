"""Checks at start that a service's topics are on the broker: an unknown topic would only fail
after 40 s, and without saying so."""

from collections.abc import Iterable

from aiokafka.admin import AIOKafkaAdminClient

from contracts.topics import Topic
from services.kit.errors import KitError


class MissingTopics(KitError):  # noqa: N818
    """Topics that this service needs are not on the broker."""


async def check_topics(bootstrap_servers: str, topics: Iterable[Topic]) -> None:
    """Return when all are there.

    Raises:
        MissingTopics: with what to do.
        KafkaError: the broker cannot be reached.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        await admin.start()
        known = set(await admin.list_topics())
    finally:
        await admin.close()
    missing = {topic.name for topic in topics} - known
    if missing:
        raise MissingTopics(
            f"no such topics: {', '.join(sorted(missing))}; "
            "run `python -m deploy.create_topics` and start again"
        )
