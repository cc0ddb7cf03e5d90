"""Where everything of a home is, and what each of its processes is told about the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.process import Process
from deploy.local.services import SERVICES, STRIPE, service_of
from deploy.local.tokens import token

INFRASTRUCTURE = ("kafka", "postgres")

# What the caller's environment may override.
DEFAULTS = {
    "STRIPE_SECRET_KEY": "sk_test_local",
    # The stand-in has no limit; Stripe's own would be the bottleneck of every benchmark.
    "STRIPE_CALLS_PER_SECOND": "1000",
    "LOG_FORMAT": "console",
    "PYTHONUNBUFFERED": "1",
}


class Directory:
    """The addresses, secrets, logs and environment variables of one home's processes.

    Environment variables, weakest first: defaults and secrets, the caller's, the addresses of
    this home, those given here as `environment`.
    """

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self.home = home
        self.kafka_server = Kafka(home)
        self.postgres_server = Postgres(home)
        self._environment = dict(environment)

    @property
    def gateway(self) -> str:
        """The HTTP address of the shop's API."""
        return self.url("gateway")

    @property
    def stripe(self) -> str:
        """The HTTP address of the Stripe stand-in."""
        return self.url(STRIPE.name)

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return self.kafka_server.address

    @property
    def postgres(self) -> dict[str, str]:
        """The address of each service's database, with the service's own role."""
        return {s.name: self.postgres_server.dsn(s.database) for s in SERVICES if s.database}

    @property
    def jwt_secret(self) -> str:
        """What the gateway checks tokens with."""
        return self.environment_of("gateway")["JWT_SECRET"]

    @property
    def webhook_secret(self) -> str:
        """What the stand-in signs webhooks with (the first, where several are given)."""
        return self.environment_of(STRIPE.name)["STRIPE_WEBHOOK_SECRET"]

    def create_database(self, name: str) -> str:
        """Makes an empty database, dropping one of that name; returns a superuser's address."""
        return self.postgres_server.create_database(name)

    def url(self, process: str) -> str:
        """The HTTP address of a service's process (`gateway`, `stripe`, `order-2`, ...)."""
        return f"http://127.0.0.1:{self.home.port(process)}"

    def where(self, process: str) -> str:
        """The address of any process, for a person to read."""
        return self.url(process).removeprefix("http://" if process in INFRASTRUCTURE else "")

    def token(self, customer: str, *roles: str) -> str:
        """A bearer token for the gateway."""
        return token(self.jwt_secret, customer, *roles)

    def process(self, name: str) -> Process:
        """The process of that name, running or not. Raises StackError for an unknown name."""
        if name not in INFRASTRUCTURE:
            try:
                service_of(name)
            except KeyError:
                known = [*INFRASTRUCTURE, STRIPE.name, *(service.name for service in SERVICES)]
                raise StackError(
                    f"there is no process {name!r}", todo=f"name one of {', '.join(known)}"
                ) from None
        return Process(self.home, name)

    def log(self, process: str) -> Path:
        """The file that a process writes its output to."""
        return self.process(process).log

    def status(self) -> dict[str, int | None]:
        """Process id by name, None for what does not run."""
        names = {*INFRASTRUCTURE, STRIPE.name, *(service.name for service in SERVICES)}
        names |= {record.stem for record in self.home.run.glob("*.json")}
        return {name: self.process(name).pid for name in sorted(names)}

    def addresses_for(self, process: str) -> dict[str, str]:
        """Where a service's process listens and whom it talks to, as environment variables."""
        service = service_of(process)
        told = {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.home.port(process)),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
        }
        if service.database is not None:
            told["DATABASE_URL"] = self.postgres_server.dsn(service.database)
        if service.name == "payment":
            told["STRIPE_API_BASE"] = self.stripe
        if service is STRIPE:
            told["STANDIN_DATABASE"] = str(self.home.path / "stripe" / "standin.sqlite")
            told["STANDIN_WEBHOOK_URL"] = f"{self.gateway}/v1/stripe/webhook"
        return told

    def environment_of(self, process: str) -> dict[str, str]:
        """All environment variables of a service's process."""
        secrets = {
            "JWT_SECRET": self.home.secret("jwt"),
            "STRIPE_WEBHOOK_SECRET": self.home.secret("stripe webhook", "whsec_"),
        }
        return {
            **DEFAULTS,
            **secrets,
            **os.environ,
            **self.addresses_for(process),
            **self._environment,
        }

    def describe(self) -> dict[str, Any]:
        """What `stack.json` says: addresses, secrets, and the process ids of what runs now."""
        processes = {name: pid for name, pid in self.status().items() if pid is not None}
        services = [name for name in processes if name not in INFRASTRUCTURE]
        return {
            "gateway": self.gateway,
            "stripe": self.stripe,
            "kafka": self.kafka,
            "postgres": self.postgres,
            "postgres_admin": self.postgres_server.admin_dsn,
            "jwt_secret": self.jwt_secret,
            "webhook_secret": self.webhook_secret,
            "services": {name: {"url": self.url(name)} for name in services},
            "replicas": {
                service.name: sum(service_of(name) is service for name in services)
                for service in SERVICES
            },
            "processes": processes,
        }
