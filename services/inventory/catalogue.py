"""Publishes what changed since: the trailing edge of the throttled catalogue.

A hot product changes with every batch. The batch publishes it when that was not done lately
(`store.move_stock`); otherwise this timer does, so the newest version always follows, soon.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from services.inventory import product_store
from services.kit.isolation import isolate
from services.kit.telemetry import log
from services.kit.work import Work

_SETTLE_AFTER: Final = timedelta(seconds=10)
"""Longer than a replica needs to publish what it committed, and than the outbox lease."""
_AT_ONCE: Final = 1000
"""Products per call: the transaction locks them, and orders for them wait."""


async def publish_catalog(work: Work) -> None:
    """One pass. A product that no message can describe, e.g. after an edit by SQL, holds up no
    other: it is tried again every _SETTLE_AFTER, and whenever it changes."""
    due = await product_store.lock_unpublished(
        work.db, work.now, settle_after=_SETTLE_AFTER, limit=_AT_ONCE
    )

    async def publish(product_ids: Sequence[UUID]) -> None:
        for product in await product_store.mark_published(work.db, product_ids, work.now):
            work.send(product)

    async def postpone(product_ids: Sequence[UUID]) -> None:
        await product_store.postpone_publishing(work.db, product_ids, work.now)

    culprits = await isolate(work, "publish_catalog", due, publish)
    for culprit in culprits:
        log.error("product not published", product_id=str(culprit.item), reason=culprit.reason)
    await isolate(work, "postpone_publishing", [culprit.item for culprit in culprits], postpone)
