"""Where everything of a home is, and what each of its processes is told about the others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.kafka import Kafka
from deploy.local.links import Link, link_name, listener_name
from deploy.local.postgres import Postgres
from deploy.local.process import Process
from deploy.local.services import (
    SERVICES,
    SMTP,
    SMTP_PORT,
    STANDINS,
    STRIPE,
    console_port,
    service_of,
)
from deploy.local.tokens import token

# What the caller's environment may override.
DEFAULTS = {
    "STRIPE_SECRET_KEY": "sk_test_local",
    # The stand-in has no limit; Stripe's own would be the bottleneck of every benchmark.
    "STRIPE_CALLS_PER_SECOND": "1000",
    "MAIL_FROM": "shop@example.com",
    "LOG_FORMAT": "console",
    "PYTHONUNBUFFERED": "1",
}


class Directory:
    """The addresses, secrets, logs and environment variables of one home's processes.

    Environment variables, weakest first: defaults and secrets, the caller's, the addresses of
    this home, those given here as `environment`. `only`: the names of the services that there
    are; without it all. With `linked`, every service talks to every server but the mail sink over
    a link (`links.py`).
    """

    def __init__(
        self,
        home: Home,
        environment: Mapping[str, str],
        *,
        only: Collection[str] | None = None,
        brokers: int = 1,
        linked: bool = False,
        kafka: type[Kafka] = Kafka,
        postgres: type[Postgres] = Postgres,
    ) -> None:
        self.home = home
        self.brokers = ("kafka", *(f"kafka-{number}" for number in range(2, brokers + 1)))
        self.services = tuple(s for s in SERVICES if only is None or s.name in only)
        clients = [service.name for service in self.services] if linked else []
        self._kafka_servers = {
            name: kafka(home, name, names=self.brokers, clients=clients) for name in self.brokers
        }
        self.postgres_server = postgres(home)
        self.infrastructure: Mapping[str, Kafka | Postgres] = {
            **self._kafka_servers,
            "postgres": self.postgres_server,
        }
        self._environment = dict(environment)
        self._linked = linked

    @property
    def gateway(self) -> str:
        """The HTTP address of the shop's API."""
        return self.url("gateway")

    @property
    def stripe(self) -> str:
        """The HTTP address of the Stripe stand-in."""
        return self.url(STRIPE.name)

    @property
    def smtp(self) -> str:
        """host:port at which the sink takes mail; `url("smtp")` shows what it got."""
        return f"127.0.0.1:{self.home.port(SMTP_PORT)}"

    @property
    def console(self) -> str:
        """The HTTP address of the ops service's pages."""
        return f"http://127.0.0.1:{self.home.port(console_port('ops'))}/console"

    async def mail_ids(self, client: httpx.AsyncClient, order: str) -> list[str]:
        """The Message-IDs of the mails about an order, oldest first."""
        found = await client.get(f"{self.url(SMTP.name)}/mails", params={"about": order})
        return [mail["message_id"] for mail in reversed(found.json())]

    @property
    def kafka(self) -> str:
        """host:port of the broker; of several brokers all, separated by commas."""
        return ",".join(server.address for server in self._kafka_servers.values())

    @property
    def postgres(self) -> dict[str, str]:
        """The address of each service's database, with its owner's role."""
        return {s.name: self.postgres_server.dsn(s.database) for s in self.services if s.database}

    @property
    def jwt_secret(self) -> str:
        """What the gateway checks tokens with."""
        return self.environment_of("gateway")["JWT_SECRET"]

    @property
    def webhook_secret(self) -> str:
        """What the stand-in signs webhooks with (the first, where several are given)."""
        return self.environment_of(STRIPE.name)["STRIPE_WEBHOOK_SECRET"]

    @property
    def stripe_key(self) -> str:
        """The secret key of the shop's account at Stripe."""
        return self.environment_of("payment")["STRIPE_SECRET_KEY"]

    @property
    def where_logs_are(self) -> str:
        """For a person to read."""
        return str(self.home.logs)

    def create_database(self, name: str, template: str = "template1") -> str:
        """Makes a database, empty or a copy, dropping one of that name; returns a superuser's
        address."""
        return self.postgres_server.create_database(name, template)

    def url(self, process: str) -> str:
        """The HTTP address of a service's process (`gateway`, `stripe`, `order-2`, ...)."""
        return f"http://127.0.0.1:{self.home.port(process)}"

    def where(self, process: str) -> str:
        """The address of any process, for a person to read."""
        return self.url(process).removeprefix("http://" if process in self.infrastructure else "")

    def token(self, customer: str, *roles: str) -> str:
        """A bearer token for the gateway."""
        return token(self.jwt_secret, customer, *roles)

    def process(self, name: str) -> Process:
        """The process of that name, running or not. Raises StackError for an unknown name."""
        if server := self.infrastructure.get(name):
            return server.process
        if not (is_service(name) or name in self.recorded()):
            known = [*self.infrastructure, *(service.name for service in (*STANDINS, *SERVICES))]
            raise StackError(
                f"there is no process {name!r}", todo=f"name one of {', '.join(known)}"
            )
        return Process(self.home, name)

    def recorded(self) -> set[str]:
        """The processes that were started and not stopped, also those that a command with another
        number of brokers started, or a test beside the stack."""
        return {record.stem for record in self.home.run.glob("*.json")}

    def log(self, process: str) -> Path:
        """The file that a process writes its output to."""
        return self.process(process).log

    def status(self) -> dict[str, int | None]:
        """Process id by name, None for what does not run."""
        names = {*self.infrastructure, *(service.name for service in (*STANDINS, *SERVICES))}
        return {name: self.process(name).pid for name in sorted(names | self.recorded())}

    def addresses_for(self, process: str) -> dict[str, str]:
        """Where a service's process listens and whom it talks to, as environment variables."""
        service = service_of(process)
        told = {"HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.home.port(process))}

        def port(server: str) -> int:
            return self.home.port(link_name(service.name, server) if self._linked else server)

        if service.database is not None:
            owner = self.postgres_server.dsn(service.database, port("postgres"))
            told["DATABASE_URL"] = owner
            if service.role is not None:
                told["MIGRATIONS_DATABASE_URL"] = owner
                told["DATABASE_URL"] = self.postgres_server.dsn(
                    service.database, port("postgres"), role=service.role
                )
            addresses = (f"127.0.0.1:{port(broker)}" for broker in self.brokers)
            told["KAFKA_BOOTSTRAP_SERVERS"] = ",".join(addresses)
        if service.name == "payment":
            told["STRIPE_API_BASE"] = f"http://127.0.0.1:{port(STRIPE.name)}"
        if service.name == "notification":
            mail_port = str(self.home.port(SMTP_PORT))
            told |= {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": mail_port, "SMTP_SECURITY": "none"}
        if service.name == "ops":
            told["CONSOLE_PORT"] = str(self.home.port(console_port(process)))
        if service is SMTP:
            told["SMTP_PORT"] = str(self.home.port(SMTP_PORT))
        if service is STRIPE:
            told["STANDIN_DATABASE"] = str(self.home.path / "stripe" / "standin.sqlite")
            webhook = f"http://127.0.0.1:{port('gateway')}/v1/stripe/webhook"
            told["STANDIN_WEBHOOK_URL"] = webhook
        return told

    def links(self) -> Iterator[Link]:
        """All links of a stack that is `linked`."""

        def link(client: str, server: str, upstream: str) -> Link:
            listen = self.home.port(link_name(client, server))
            return Link(client, server, listen, self.home.port(upstream))

        for service in self.services:
            yield link(service.name, "postgres", "postgres")
            for broker in self.brokers:
                yield link(service.name, broker, listener_name(service.name, broker))
        yield link("payment", STRIPE.name, STRIPE.name)
        yield link(STRIPE.name, "gateway", "gateway")

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
        services = [name for name in processes if is_service(name)]
        return {
            "gateway": self.gateway,
            "stripe": self.stripe,
            "smtp": self.smtp,
            "mails": self.url(SMTP.name),
            **({"console": self.console} if "ops" in services else {}),
            "kafka": self.kafka,
            "postgres": self.postgres,
            "postgres_admin": self.postgres_server.admin_dsn,
            "jwt_secret": self.jwt_secret,
            "webhook_secret": self.webhook_secret,
            "services": {name: {"url": self.url(name)} for name in services},
            "replicas": {
                service.name: sum(service_of(name) is service for name in services)
                for service in self.services
            },
            "processes": processes,
        }


def is_service(process: str) -> bool:
    """Whether it is the process of a service or of a stand-in, and no server below them."""
    try:
        service_of(process)
    except KeyError:
        return False
    return True
