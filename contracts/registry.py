"""Every message there is. Importing this module registers all of them."""

from contracts import (
    audit,
    customer,
    dead_letters,
    inventory,
    operations,
    order,
    payment,
    stripe,
)
from contracts.message import REGISTRY, Message

__all__ = ["MESSAGES"]

_MODULES = (audit, customer, dead_letters, inventory, operations, order, payment, stripe)

MESSAGES: dict[str, type[Message]] = dict(sorted(REGISTRY.items()))
"""Message classes by wire name."""
