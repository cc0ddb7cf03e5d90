"""The system of docker-compose.yml under a name of its own, for demonstrations and tests.

Its ports are its own, too, so that it runs beside another; they are kept in `.local/<name>`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import httpx

from deploy.local import tokens
from deploy.local.errors import StackError
from deploy.local.home import PROJECT, Home
from deploy.local.services import SERVICES
from deploy.verify.rest import System

SECONDS_TO_READY = 150
PORTS = ("gateway", "ops", "console", "stripe", "mailpit", "postgres", "kafka")
OPENED = PROJECT / "deploy" / "compose" / "opened.yml"


class ComposeSystem:
    """One project of Docker Compose. Creating it starts nothing.

    `environment` holds values for the variables of docker-compose.yml, `only` names the services
    that there are (without it all), `overrides` are files that go on top of it. With `OPENED` among
    them the system can be checked: its databases and its broker are published on this machine.
    Methods raise StackError, whose text says what failed and what to do.
    """

    def __init__(
        self,
        project: str,
        environment: Mapping[str, str],
        *,
        only: Collection[str] | None = None,
        overrides: Sequence[Path] = (),
    ) -> None:
        self.project = project
        self._files = (PROJECT / "docker-compose.yml", *overrides)
        self._given = dict(environment)
        self._only = only
        self._home = Home(PROJECT / ".local" / project)
        self._secrets = PROJECT / os.environ.get("SECRETS", "deploy/compose/secrets")

    def up(self) -> None:
        """Builds and starts everything; returns when all containers are healthy."""
        for server in PORTS:
            self._home.claim_port(server)
        names = () if self._only is None else (*self._only, "stripe")
        self.compose("up", "--build", "--wait", "--wait-timeout", str(SECONDS_TO_READY), *names)

    def remove(self) -> None:
        """Stops everything and removes it with its data; images stay."""
        self.compose("down", "--volumes", "--remove-orphans")

    def compose(self, *arguments: str) -> str:
        """Runs a command of Docker Compose and returns what it prints to standard output."""
        return self._run("docker", "compose", "--progress", "quiet", *arguments)

    def script(self, name: str, *arguments: str) -> str:
        """Runs a script of deploy/compose on this system and returns what it prints."""
        return self._run(str(PROJECT / "deploy" / "compose" / name), *arguments)

    def _run(self, *command: str) -> str:
        about = {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": os.pathsep.join(map(str, self._files)),
        }
        ports = {f"{server.upper()}_PORT": str(self._home.port(server)) for server in PORTS}
        try:
            done = subprocess.run(
                command,
                cwd=PROJECT,
                env={**os.environ, **about, **ports, **self._given},
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise StackError(
                "there is no `docker` on this machine",
                todo="install Docker with its compose plugin; `make demo` does without",
            ) from None
        if done.returncode != 0:
            raise StackError(
                f"{' '.join(command)} failed:\n{done.stderr.strip()}",
                todo=f"see that the engine runs (`docker info`); {self.where_logs_are}",
            )
        return done.stdout

    @property
    def gateway(self) -> str:
        """The HTTP address of the shop's API."""
        return f"http://{self._address('gateway')}"

    @property
    def stripe(self) -> str:
        """The HTTP address of the Stripe stand-in."""
        return f"http://{self._address('stripe')}"

    @property
    def stripe_key(self) -> str:
        """The secret key of the shop's account at Stripe."""
        return self._secret("stripe_secret_key")

    @property
    def where_logs_are(self) -> str:
        """For a person to read."""
        return f"`docker compose --project-name {self.project} logs`"

    @property
    def parts(self) -> System:
        """Where the checker finds the parts of an opened system, see `OPENED`."""
        databases = {
            service.name: service.database
            for service in SERVICES
            if service.database and (self._only is None or service.name in self._only)
        }
        dsn = {
            service: f"postgresql://{name}:{quote(self._secret(f'{name}_db_password'), safe='')}"
            f"@{self._address('postgres')}/{name}"
            for service, name in databases.items()
        }
        return System(dsn, self._address("kafka"), self.stripe, self.stripe_key)

    def token(self, customer: str, *roles: str) -> str:
        """A bearer token for the gateway."""
        return tokens.token(self._secret("jwt_secret"), customer, *roles)

    async def mail_ids(self, client: httpx.AsyncClient, order: str) -> list[str]:
        """The Message-IDs of the mails about an order, oldest first."""
        url = f"http://{self._address('mailpit')}/api/v1/search"
        found = await client.get(url, params={"query": f"message-id:{order}"})
        return [mail["MessageID"] for mail in reversed(found.json()["messages"])]

    def _address(self, server: str) -> str:
        return f"127.0.0.1:{self._home.port(server)}"

    def _secret(self, name: str) -> str:
        return (self._secrets / name).read_text().strip()
