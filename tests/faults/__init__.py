"""The fault harness: the system is beaten under load, heals, and is checked. Read run.py first.

Importing a module of faults declares its faults (nemesis.py); here are all of them.
"""

from tests.faults import (
    clock,
    disk,
    edited_orders,
    messages,
    network_faults,
    partition_faults,
    poison,
    processes,
    refund_faults,
    servers,
    stripe_brownout,
    stripe_faults,
    webhook_faults,
)

__all__ = [
    "clock",
    "disk",
    "edited_orders",
    "messages",
    "network_faults",
    "partition_faults",
    "poison",
    "processes",
    "refund_faults",
    "servers",
    "stripe_brownout",
    "stripe_faults",
    "webhook_faults",
]
