"""Every Kafka topic of the system: who owns it, how it is keyed and how long it is kept.

Read this file first, then `services/order/saga.py`. A topic's owner decides what travels on it:
on `*.commands` anybody may ask, on `*.events` only the owner speaks. The messages are in the
module named after the owner.

All topics keyed by order have the same number of partitions and the same partitioner (murmur2,
Kafka's default), so one order's messages share a partition number everywhere.
"""

from dataclasses import dataclass
from datetime import timedelta

PARTITIONS = 12

_WEEK = timedelta(days=7)
_QUARTER = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as it must exist on the broker."""

    name: str
    owner: str
    key: str
    """What the record key holds: the name of a field of the messages."""
    partitions: int = PARTITIONS
    retention: timedelta | None = _WEEK
    """How long records are kept; None keeps them for ever (compacted topics)."""
    compacted: bool = False

    @property
    def retention_ms(self) -> int | None:
        return None if self.retention is None else int(self.retention.total_seconds() * 1000)


# fmt: off
_ORDER, _PRODUCT, _PARKED = "order_id", "product_id", "the parked record's key"
_ASKED = "service and number of the parked message"

ORDER_COMMANDS     = Topic("order.commands",     owner="order",     key=_ORDER)
ORDER_EVENTS       = Topic("order.events",       owner="order",     key=_ORDER)
INVENTORY_COMMANDS = Topic("inventory.commands", owner="inventory", key=f"{_ORDER} or {_PRODUCT}")
INVENTORY_EVENTS   = Topic("inventory.events",   owner="inventory", key=_ORDER)
INVENTORY_REPLIES  = Topic("inventory.replies",  owner="inventory", key=_PRODUCT)
INVENTORY_CATALOG  = Topic("inventory.catalog",  owner="inventory", key=_PRODUCT,
                           retention=None, compacted=True)
PAYMENT_COMMANDS   = Topic("payment.commands",   owner="payment",   key=_ORDER)
PAYMENT_EVENTS     = Topic("payment.events",     owner="payment",   key=_ORDER)
STRIPE_WEBHOOKS    = Topic("stripe.webhooks",    owner="gateway",   key=f"{_ORDER} or intent id")

# Personal data: nowhere else, and not for long.
CUSTOMER_CONTACTS  = Topic("customer.contacts",  owner="gateway",   key=_ORDER,
                           retention=timedelta(days=2))

AUDIT_ORDER        = Topic("audit.order",        owner="order",     key=_ORDER,
                           retention=_QUARTER)
AUDIT_INVENTORY    = Topic("audit.inventory",    owner="inventory", key=f"{_ORDER} or {_PRODUCT}",
                           retention=_QUARTER)
AUDIT_PAYMENT      = Topic("audit.payment",      owner="payment",   key=_ORDER,
                           retention=_QUARTER)

ORDER_DEAD_LETTERS     = Topic("order.dead-letters",     owner="order",     key=_PARKED,
                               partitions=1, retention=_QUARTER)
INVENTORY_DEAD_LETTERS = Topic("inventory.dead-letters", owner="inventory", key=_PARKED,
                               partitions=1, retention=_QUARTER)
PAYMENT_DEAD_LETTERS   = Topic("payment.dead-letters",   owner="payment",   key=_PARKED,
                               partitions=1, retention=_QUARTER)
GATEWAY_DEAD_LETTERS   = Topic("gateway.dead-letters",   owner="gateway",   key=_PARKED,
                               partitions=1, retention=_QUARTER)
NOTIFICATION_DEAD_LETTERS = Topic("notification.dead-letters", owner="notification",
                                  key=_PARKED, partitions=1, retention=_QUARTER)
OPS_DEAD_LETTERS       = Topic("ops.dead-letters",       owner="ops",       key=_PARKED,
                               partitions=1, retention=_QUARTER)

# What people ask of a service's parked messages. Few and rare, so one partition.
ORDER_OPERATIONS       = Topic("order.operations",       owner="order",     key=_ASKED,
                               partitions=1)
INVENTORY_OPERATIONS   = Topic("inventory.operations",   owner="inventory", key=_ASKED,
                               partitions=1)
PAYMENT_OPERATIONS     = Topic("payment.operations",     owner="payment",   key=_ASKED,
                               partitions=1)
GATEWAY_OPERATIONS     = Topic("gateway.operations",     owner="gateway",   key=_ASKED,
                               partitions=1)
NOTIFICATION_OPERATIONS = Topic("notification.operations", owner="notification", key=_ASKED,
                                partitions=1)
OPS_OPERATIONS         = Topic("ops.operations",         owner="ops",       key=_ASKED,
                               partitions=1)
# fmt: on

TOPICS: tuple[Topic, ...] = (
    ORDER_COMMANDS,
    ORDER_EVENTS,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    INVENTORY_REPLIES,
    INVENTORY_CATALOG,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    STRIPE_WEBHOOKS,
    CUSTOMER_CONTACTS,
    AUDIT_ORDER,
    AUDIT_INVENTORY,
    AUDIT_PAYMENT,
    ORDER_DEAD_LETTERS,
    INVENTORY_DEAD_LETTERS,
    PAYMENT_DEAD_LETTERS,
    GATEWAY_DEAD_LETTERS,
    NOTIFICATION_DEAD_LETTERS,
    OPS_DEAD_LETTERS,
    ORDER_OPERATIONS,
    INVENTORY_OPERATIONS,
    PAYMENT_OPERATIONS,
    GATEWAY_OPERATIONS,
    NOTIFICATION_OPERATIONS,
    OPS_OPERATIONS,
)

DEAD_LETTERS: dict[str, Topic] = {
    topic.owner: topic for topic in TOPICS if topic.name.endswith(".dead-letters")
}

OPERATIONS: dict[str, Topic] = {
    topic.owner: topic for topic in TOPICS if topic.name.endswith(".operations")
}
