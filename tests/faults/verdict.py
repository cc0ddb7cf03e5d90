"""Whether a run shows anything, and what: the model against the system, and the paths taken."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from deploy.verify.evidence import PAID, UNDONE, Evidence
from tests.faults.driver import Story


def model_breaches(evidence: Evidence, stories: Sequence[Story]) -> Iterator[str]:
    """Where an order did not end as its customer was told. For orders that have ended."""
    for story in stories:
        order = evidence.orders.get(story.order_id or "")
        if order is None:
            continue  # I9 looks for orders that were acknowledged and do not exist
        status = order["status"]
        ends: tuple[str, ...]
        if story.unsure:
            ends = (*UNDONE, *PAID)
        elif story.undo:
            ends = UNDONE
        elif story.paid:
            ends = PAID
        else:
            ends = ("cancelled",)  # declined, refused by Stripe, or never paid
        if status not in ends:
            yield f"order {story.order_id}: {status} after {story}"


def paths_taken(
    evidence: Evidence, *, swept: int, replayed: int, duplicates: float
) -> dict[str, int]:
    """How often each interesting path was taken; a run without one of them proves little."""
    late = expired = 0
    for trail in evidence.order_audit.values():
        trail = sorted(trail, key=lambda record: record.version)
        states = [record.saga_state for record in trail]
        late += ("withdrawing", "returning_money") in pairwise(states)
        expired += any(record.action == "ReservationExpired" for record in trail)
    restored = sum(
        record.action == "restored" for trail in evidence.stock_audit.values() for record in trail
    )
    return {
        "stock restored": restored,
        "late payment refunded": late,
        "reservation expired": expired,
        "orphan published by a sweeper": swept,
        "parked message replayed": replayed,
        "duplicate skipped": int(duplicates),
    }
