"""The Python processes of the stack. Each is named after its service; further replicas of a
service are `order-2`, `order-3`, ...
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module

from pydantic_settings import BaseSettings


@dataclass(frozen=True, slots=True)
class Service:
    """One program of the system that serves HTTP on a port of its own."""

    name: str
    module: str
    settings: str
    """`module:class` of its settings."""
    ready: str = "/readyz"
    """The path that answers 200 once the process can do its work."""
    database: str | None = None
    role: str | None = None
    """The database role that it runs as, if that is not the owner, which then only migrates."""

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", self.module]

    def setting_names(self) -> set[str]:
        """The environment variables that it reads."""
        module, _, name = self.settings.partition(":")
        settings: type[BaseSettings] = getattr(import_module(module), name)
        return {field.upper() for field in settings.model_fields}


STRIPE = Service(
    "stripe",
    "deploy.local.stripe_standin",
    "deploy.local.stripe_standin.settings:Settings",
    ready="/healthz",
)
SMTP = Service(
    "smtp", "deploy.local.smtp_sink", "deploy.local.smtp_sink.sink:Settings", ready="/healthz"
)
STANDINS = (STRIPE, SMTP)
SMTP_PORT = "smtp:mail"
"""The name of the port on which the sink takes mail; `smtp` is that of its web pages."""
SERVICES = (
    Service(
        "inventory",
        "services.inventory",
        "services.inventory.settings:InventorySettings",
        database="inventory",
    ),
    Service(
        "payment",
        "services.payment",
        "services.payment.settings:PaymentSettings",
        database="payment",
    ),
    Service("order", "services.order", "services.order.settings:OrderSettings", database="orders"),
    Service(
        "gateway", "services.gateway", "services.gateway.settings:Settings", database="gateway"
    ),
    Service(
        "notification",
        "services.notification",
        "services.notification.settings:NotificationSettings",
        database="notification",
    ),
    Service(
        "ops",
        "services.ops",
        "services.ops.settings:OpsSettings",
        database="ops",
        role="ops_runtime",
    ),
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
