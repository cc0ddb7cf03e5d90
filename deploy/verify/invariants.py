"""I1 to I10: what must hold of a system that has come to rest, whatever was done to it.

Each is a function of the evidence: it yields a sentence for every breach, and says how much it
looked at. The numbers are those of docs/reliability.md.
"""

from collections.abc import Callable
from typing import NamedTuple

from deploy.verify.evidence import Breaches, Evidence
from deploy.verify.money import money_and_orders_agree, webhooks_are_applied
from deploy.verify.orders import (
    audit_is_complete,
    ends_stay_ends,
    nothing_waits,
    orders_are_private,
    what_was_acknowledged_exists,
)
from deploy.verify.stock import nothing_oversold, reserved_and_restored_once, stock_adds_up
from deploy.verify.told import Told

Check = Callable[[Evidence, Told], Breaches]


class Invariant(NamedTuple):
    number: str
    promise: str
    looked_at: Callable[[Evidence, Told], str]
    """How much there was to look at: a check of nothing shows nothing."""
    check: Check


class Finding(NamedTuple):
    invariant: Invariant
    looked_at: str
    breaches: list[str]


def check_all(evidence: Evidence, told: Told) -> list[Finding]:
    """All invariants, in their order."""
    return [
        Finding(each, each.looked_at(evidence, told), list(each.check(evidence, told)))
        for each in INVARIANTS
    ]


INVARIANTS = (
    Invariant(
        "I1",
        "stock, held and sold are what was supplied",
        lambda e, _: f"{len(e.products)} products, {len(e.movements)} movements of orders",
        stock_adds_up,
    ),
    Invariant(
        "I2",
        "nothing is sold that is not there",
        lambda e, _: f"{len(e.products)} products",
        nothing_oversold,
    ),
    Invariant(
        "I3",
        "stock is reserved once and restored at most once",
        lambda e, _: f"{len(e.reservations)} orders with stock",
        reserved_and_restored_once,
    ),
    Invariant(
        "I4",
        "money is kept for paid orders, once and to the cent",
        lambda e, _: f"{len(e.orders)} orders, {len(e.intents)} intents",
        money_and_orders_agree,
    ),
    Invariant(
        "I5",
        "nothing waits, no lag, no lease is held",
        lambda e, _: f"{len(e.orders)} orders",
        nothing_waits,
    ),
    Invariant(
        "I6",
        "the audit trail has no gap and ends with what is",
        lambda e, _: (
            f"{sum(map(len, e.order_audit.values()))} records of orders, "
            f"{sum(map(len, e.payment_audit.values()))} of payments"
        ),
        audit_is_complete,
    ),
    Invariant(
        "I7",
        "what Stripe said is known and applied",
        lambda e, _: f"{len(e.stripe_events)} events, {len(e.answered_webhooks)} webhooks",
        webhooks_are_applied,
    ),
    Invariant(
        "I8",
        "an end never reopens",
        lambda e, _: f"{sum(map(len, e.history.values()))} changes of status",
        ends_stay_ends,
    ),
    Invariant(
        "I9",
        "what was acknowledged exists, one order per key",
        lambda e, t: f"{len(e.keys)} keys, {len(t.acknowledged)} answers that customers noted",
        what_was_acknowledged_exists,
    ),
    Invariant(
        "I10",
        "nobody reads somebody else's order",
        lambda e, t: f"{len(e.views)} views, {t.refused_reads} attempts",
        orders_are_private,
    ),
)
