"""Settings that every service has, from environment variables and from files of secrets.

Each service subclasses `ServiceSettings`. A missing or malformed value stops the start with one
line per problem.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MAX_MESSAGE_BYTES: Final = 1_000_000
"""A broker takes 1,048,588 bytes in a batch, unless it is set otherwise."""

_BROKER = re.compile(r"([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


class ServiceSettings(BaseSettings):
    """Environment variables of the same names in capitals; or files of the same names in the
    folder `SECRETS_FOLDER`, where Docker and Kubernetes put secrets. A variable comes first."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: str = Field(description="PostgreSQL DSN of the service's own database")
    database_password: SecretStr | None = Field(
        default=None,
        description="goes into `DATABASE_URL`, so that only the password need be a secret",
    )
    migrations_database_url: str | None = Field(
        default=None,
        description="the same database as its owner, for the migrations at start; without it "
        "`DATABASE_URL` is the owner's",
    )
    migrations_database_password: SecretStr | None = Field(
        default=None, description="goes into `MIGRATIONS_DATABASE_URL`"
    )
    kafka_bootstrap_servers: str = Field(description="host:port, comma-separated")
    production: bool = Field(
        default=False,
        description="real customers and real money: the database must not lose commits, and "
        "payment takes a live key of Stripe, which is taken nowhere else",
    )
    database_synchronous_standby: Literal["required", "waived"] = Field(
        default="required",
        description="with `PRODUCTION`, a server without a synchronous standby is refused. waived: "
        "its storage is replicated synchronously, or the loss of its last commits is accepted",
    )
    http_host: str = Field(default="127.0.0.1", description="where the service listens")
    http_port: int = Field(default=8000, ge=0, le=65535, description="0 takes a free one")

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, description="where spans go (OTLP over HTTP); without it none are made"
    )

    batch_size: int = Field(default=500, ge=1, description="most records per transaction")
    fetch_max_wait_ms: int = Field(
        default=100,
        ge=1,
        description="longest poll of the broker. Behind a batch of more than 100 ms a partition "
        "with data can wait for another's long poll, so this bounds what that adds to a hop; each "
        "poll costs, also when nothing happens",
    )
    session_timeout_seconds: float = Field(
        default=10.0,
        ge=6.0,
        description="a member that is silent this long is dead to its group; Kafka's least is 6",
    )
    group_instance_id: str | None = Field(
        default=None, description="static group membership: a restart causes no rebalance"
    )
    database_pool_size: int = Field(
        default=6,
        ge=2,
        description="most connections of one process; its consumer has three more",
    )
    outbox_lease_seconds: float = Field(
        default=5.0,
        gt=0,
        description="how long a committed outbox row is left to the process that wrote it",
    )
    max_message_bytes: int = Field(
        default=MAX_MESSAGE_BYTES,
        ge=20_000,
        description="largest message that is handed to Kafka: a little less than the topics' "
        "`max.message.bytes`; a larger one is set aside as a dead letter",
    )
    inbox_retention_days: int = Field(
        default=14,
        ge=2,
        description="how long message ids are remembered; longer than any topic keeps records",
    )
    message_attempts: int = Field(
        default=3, ge=1, description="tries of a message that fails alone, before it is parked"
    )
    stalled_after_seconds: float = Field(
        default=60.0, gt=0, description="lag without progress for this long fails /healthz"
    )
    crash_at: str | None = Field(
        default=None, description="tests only: the crash point at which the process kills itself"
    )

    @model_validator(mode="before")
    @classmethod
    def _passwords_in_the_addresses(cls, given: dict[str, Any]) -> dict[str, Any]:
        for database in ("database", "migrations_database"):
            address, password = given.get(f"{database}_url"), given.get(f"{database}_password")
            if address and password:
                given = given | {f"{database}_url": _with_password(address, password)}
        return given

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for url in (self.database_url, self.owner_url):
            if not re.match(r"postgres(ql)?://", url):
                raise ValueError(
                    "DATABASE_URL must be postgresql://user:password@host:port/database, and so "
                    "must MIGRATIONS_DATABASE_URL where there is one"
                )
        brokers = self.kafka_bootstrap_servers.split(",")
        if wrong := [broker for broker in brokers if not _BROKER.fullmatch(broker)]:
            raise ValueError(f"KAFKA_BOOTSTRAP_SERVERS must be host:port,host:port; not {wrong}")
        return self

    @property
    def owner_url(self) -> str:
        """The DSN that may change the schema."""
        return self.migrations_database_url or self.database_url

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """Read environment and files, or leave with an explanation."""
        try:
            return cls(_secrets_dir=secrets_folder(), **overrides)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, each['loc'])).upper() or cls.__name__}: {each['msg']}"
                for each in error.errors()
            ]
        except OSError as error:
            problems = [f"SECRETS_FOLDER: {error}"]
        raise explained(problems)


def _with_password(address: str, password: str | SecretStr) -> str:
    if isinstance(password, SecretStr):
        password = password.get_secret_value()
    parts = urlsplit(address)
    user, _, where = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    netloc = f"{user}:{quote(password, safe='')}@{where}"
    return urlunsplit(parts._replace(netloc=netloc))


def secrets_folder() -> Path | None:
    """Where secrets are files, each named as its setting; None where there is no such folder."""
    folder = Path(os.environ.get("SECRETS_FOLDER", "/run/secrets"))
    return folder if folder.is_dir() else None


def explained(problems: list[str]) -> SystemExit:
    """To be raised: a line per problem, each beginning with a setting's name; shows no secret."""
    for problem in problems:
        print(f"setting {problem}", file=sys.stderr)
    print("Correct these settings and start again.", file=sys.stderr)
    return SystemExit(78)  # EX_CONFIG
