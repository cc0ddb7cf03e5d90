"""The events of the saga's table, besides the messages of inventory and payment.

`understanding` makes them from messages.
"""

from dataclasses import dataclass
from uuid import UUID

from contracts.inventory import StockRejected, StockReserved, StockRestored
from contracts.payment import (
    PaymentCanceled,
    PaymentFailed,
    PaymentIntentCreated,
    PaymentPartiallyRefunded,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentUpdated,
    RefundFailed,
    RefundPossible,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A person wants something."""

    by: str
    reason: str
    admin_notes: str | None = None


class CustomerCancels(Asked):
    pass


class StaffCancels(Asked):
    pass


class StartProcessing(Asked):
    pass


class Ship(Asked):
    pass


class Deliver(Asked):
    pass


class Archive(Asked):
    pass


class RefundAll(Asked):
    """Give back what is left, and restock what has not been shipped."""


class RefundAndRestock(Asked):
    """Give back what is left; the goods are back on the shelf, or never left it."""


class RefundKeepStock(Asked):
    """Give back what is left; the goods do not come back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart(Asked):
    """Give back `amount` minor units; `refund_id` makes it happen once. `restock` counts when this
    and other refunds together have given everything back. `again`: it replaces what was refused."""

    refund_id: UUID
    amount: int
    restock: bool | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlePart(Asked):
    """Staff gave `amount` minor units back outside Stripe, in place of what Stripe refused."""

    amount: int
    restock: bool | None = None


class SettleAll(SettlePart):
    """... which is all that was left: restock what has not been shipped."""


class SettleAndRestock(SettlePart):
    """... all that was left; the goods are back on the shelf, or never left it."""


class SettleKeepStock(SettlePart):
    """... all that was left; the goods do not come back."""


class ClosedBySql(Asked):
    """An operator set the status to cancelled in the database: payment and stock are to follow."""


class Impossible(Asked):
    """Asked for something that no state allows, e.g. to refund what was never paid."""


@dataclass(frozen=True, slots=True)
class StepTimedOut:
    """The answer to the last command is overdue."""


@dataclass(frozen=True, slots=True)
class ReservationExpired:
    """The customer had the stock long enough without paying."""


@dataclass(frozen=True, slots=True)
class Overtaken:
    """News of money that is older than what is known, or repeats it."""

    news: PaymentSucceeded | PaymentRefunded


@dataclass(frozen=True, slots=True)
class RefundedAndRestock:
    """All the money of an order in fulfilment is back, and staff said that the goods are, too."""

    news: PaymentRefunded


@dataclass(frozen=True, slots=True)
class RefundedKeepStock:
    """All the money of an order in fulfilment is back, and staff said that the goods stay out."""

    news: PaymentRefunded


@dataclass(frozen=True, slots=True)
class RefundRefused:
    """Stripe refused for good the refund that the order waits for."""

    news: RefundFailed


class RefusedWhenConfirmed(RefundRefused):
    """... while the order stood at confirmed, and so goes on from there."""


class RefusedWhenProcessing(RefundRefused):
    pass


class RefusedWhenShipped(RefundRefused):
    pass


class RefusedWhenDelivered(RefundRefused):
    pass


@dataclass(frozen=True, slots=True)
class RefundOwed:
    """A refund that was refused has become possible, and the order has ended without its goods:
    the customer is to have the money without another decision."""

    news: RefundPossible


InventoryEvent = StockReserved | StockRejected | StockRestored
PaymentEvent = (
    PaymentIntentCreated
    | PaymentUpdated
    | PaymentSucceeded
    | PaymentFailed
    | PaymentCanceled
    | PaymentRefunded
    | PaymentPartiallyRefunded
    | RefundFailed
    | RefundPossible
)
Refined = Overtaken | RefundedAndRestock | RefundedKeepStock | RefundRefused | RefundOwed
"""News of payment where the state alone does not say what follows."""
Event = InventoryEvent | PaymentEvent | Refined | Asked | StepTimedOut | ReservationExpired
