"""The refunds that an order has asked for, and what became of each. Pure.

One decision to refund is one entry with one id, for as long as it is under way: a time-out asks
for the same refund again. Each entry keeps what staff said about the goods, so that refunds that
overlap do not lose it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID


class Outcome(StrEnum):
    """How an entry ended."""

    DONE = "done"  # Stripe made it
    REFUSED = "refused"  # for good: staff have to decide
    REPLACED = "replaced"  # another refund includes its money
    SETTLED = "settled"  # given back outside Stripe, or by a lost dispute


@dataclass(frozen=True, slots=True)
class AskedRefund:
    """One decision to refund. `amount` is in minor units; None is all that is left."""

    refund_id: UUID
    amount: int | None
    rest: bool
    """Whether the order is to have all its money back by this refund."""
    restock: bool | None = None
    """Whether staff said that the goods go back on sale; None where they said nothing."""
    outcome: Outcome | None = None
    """None while it is under way."""
    reason: str | None = None
    """Why it was refused, in Stripe's words."""


Refunds = tuple[AskedRefund, ...]
"""The oldest first."""


def find(refunds: Refunds, refund_id: UUID | None) -> AskedRefund | None:
    return next((it for it in refunds if it.refund_id == refund_id), None)


def rest_under_way(refunds: Refunds) -> AskedRefund | None:
    return next((it for it in reversed(refunds) if it.rest and it.outcome is None), None)


def parts_under_way(refunds: Refunds) -> int:
    """Minor units that are on their way back, besides all that is left."""
    return sum(it.amount or 0 for it in refunds if not it.rest and it.outcome is None)


def refused(refunds: Refunds) -> Refunds:
    """Those that wait for a decision."""
    return tuple(it for it in refunds if it.outcome is Outcome.REFUSED)


def restock_choice(refunds: Refunds) -> bool | None:
    """What staff said last about the goods."""
    said = [it.restock for it in refunds if it.restock is not None]
    return said[-1] if said else None


def without_shelf(refunds: Refunds) -> Refunds:
    """The goods leave: "back on sale", said before, is no longer true."""
    return tuple(replace(it, restock=None) if it.restock else it for it in refunds)


def end(refunds: Refunds, refund_id: UUID | None, outcome: Outcome, reason: str = "") -> Refunds:
    """Note how a refund ended. A refund that was made can still fail at the customer's bank; no
    other end is left."""
    ends_anew = (None,) if outcome is Outcome.DONE else (None, Outcome.DONE)
    return tuple(
        replace(it, outcome=outcome, reason=reason or None)
        if it.refund_id == refund_id and it.outcome in ends_anew
        else it
        for it in refunds
    )


def decide(refunds: Refunds, outcome: Outcome, restock: bool | None = None) -> Refunds:
    """End what waits for a decision; `restock` is what staff say about the goods with it."""
    return tuple(
        replace(it, outcome=outcome, restock=it.restock if restock is None else restock)
        if it.outcome is Outcome.REFUSED
        else it
        for it in refunds
    )


def explain(refunds: Refunds, news: str) -> Refunds:
    """Add news to the reasons of what waits for a decision; news that is there is not repeated."""
    return tuple(
        replace(it, reason=f"{it.reason} {news}".strip())
        if it.outcome is Outcome.REFUSED and news not in (it.reason or "")
        else it
        for it in refunds
    )
