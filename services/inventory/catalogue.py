"""Publishes what changed since: the trailing edge of the throttled catalogue.

A hot product changes with every batch. The batch publishes it when that was not done lately
(`store.move_stock`); otherwise this timer does, so the newest version always follows, soon.
"""

from datetime import timedelta
from typing import Final

from services.inventory import product_store
from services.kit.work import Work

_SETTLE_AFTER: Final = timedelta(seconds=10)
"""Longer than a replica needs to publish what it committed, and than the outbox lease."""
_AT_ONCE: Final = 1000
"""Products per call: the transaction locks them, and orders for them wait."""


async def publish_catalog(work: Work) -> None:
    for product in await product_store.take_unpublished(
        work.db, work.now, settle_after=_SETTLE_AFTER, limit=_AT_ONCE
    ):
        work.send(product)
