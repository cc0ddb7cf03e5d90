"""The Python processes of the stack. Each is named after its service; further replicas of a
service are `order-2`, `order-3`, ...
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Service:
    """One program of the system that serves HTTP on a port of its own."""

    name: str
    module: str
    ready: str = "/readyz"
    """The path that answers 200 once the process can do its work."""
    database: str | None = None
    role: str | None = None
    """The database role that it runs as, if that is not the owner, which then only migrates."""

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", self.module]


STRIPE = Service("stripe", "deploy.local.stripe_standin", ready="/healthz")
SMTP = Service("smtp", "deploy.local.smtp_sink", ready="/healthz")
STANDINS = (STRIPE, SMTP)
SMTP_PORT = "smtp:mail"
"""The name of the port on which the sink takes mail; `smtp` is that of its web pages."""
SERVICES = (
    Service("inventory", "services.inventory", database="inventory"),
    Service("payment", "services.payment", database="payment"),
    Service("order", "services.order", database="orders"),
    Service("gateway", "services.gateway", database="gateway"),
    Service("notification", "services.notification", database="notification"),
    Service("ops", "services.ops", database="ops", role="ops_runtime"),
)
ORDERING = ("order", "inventory", "payment", "gateway")
"""What an order needs; the other services only follow it."""


def console_port(process: str) -> str:
    """The name of the port on which a process of ops shows its pages."""
    return f"{process}:console"


def service_of(process: str) -> Service:
    """The service that a process name belongs to. Raises KeyError for an unknown one."""
    by_name = {service.name: service for service in (*SERVICES, *STANDINS)}
    base, _, number = process.rpartition("-")
    return by_name[base if number.isdecimal() else process]
