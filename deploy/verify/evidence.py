"""All that the checker looks at, as one value: rows, records and Stripe's books."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.audit import InventoryAudited, OrderAudited, PaymentAudited

Row = Mapping[str, Any]
Breaches = Iterator[str]
"""A sentence for each breach of a promise."""

PAID = ("confirmed", "processing", "shipped", "delivered")
UNDONE = ("cancelled", "refunded")


class Waiting(NamedTuple):
    """Something that is still under way, and how many of it."""

    what: str
    number: int


@dataclass(slots=True)
class Evidence:
    """Ids are text throughout, so that databases, topics and Stripe can be compared."""

    orders: dict[str, Row] = field(default_factory=dict)
    history: dict[str, list[Row]] = field(default_factory=dict)
    """Status changes by order, oldest first."""
    products: dict[str, Row] = field(default_factory=dict)
    """`lowest` is the lowest stock that there ever was."""
    reservations: dict[str, list[Row]] = field(default_factory=dict)
    """By order: one row per product."""
    movements: dict[tuple[str, str], list[Row]] = field(default_factory=dict)
    """By (order, product), oldest first; those without an order are summed in `products`."""
    payments: dict[str, Row] = field(default_factory=dict)
    decided_events: dict[str, str] = field(default_factory=dict)
    """Outcome by the id of Stripe's event."""
    views: dict[str, Row] = field(default_factory=dict)
    """The gateway's orders: customer and version."""
    keys: dict[tuple[str, str], Row] = field(default_factory=dict)
    """Idempotency keys by (customer, key)."""
    waiting: Sequence[Waiting] = ()
    parked: Sequence[Waiting] = ()
    """Open parked messages by service and reason."""
    order_audit: dict[str, list[OrderAudited]] = field(default_factory=dict)
    payment_audit: dict[str, list[PaymentAudited]] = field(default_factory=dict)
    stock_audit: dict[str, list[InventoryAudited]] = field(default_factory=dict)
    """By order; of one order, in the order of the topic, repeats taken out."""
    intents: dict[str, list[Row]] = field(default_factory=dict)
    """Stripe's ledger by order."""
    stripe_events: dict[str, str] = field(default_factory=dict)
    """Type by id, of all events that can change a payment, from Stripe's own list."""
    answered_webhooks: set[str] = field(default_factory=set)
    """Those of them whose webhooks were answered with success, as long as the topic is kept."""
    kept_webhooks: set[str] = field(default_factory=set)
    """Ids of the events that the gateway has put on the topic."""


def states(rows: Sequence[Row]) -> list[str]:
    return sorted({row["state"] for row in rows})
