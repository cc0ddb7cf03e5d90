"""Settings that every service has, from environment variables.

Each service subclasses `ServiceSettings`. A missing or malformed value stops the start with one
line per problem.
"""

import sys
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    database_url: str = Field(description="PostgreSQL DSN of the service's own database")
    kafka_bootstrap_servers: str = Field(description="host:port, comma-separated")
    http_host: str = Field(default="127.0.0.1", description="where the service listens")
    http_port: int = Field(default=8000, ge=0, le=65535, description="0 takes a free one")

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None, description="where spans go (OTLP over HTTP); without it none are made"
    )

    batch_size: int = Field(default=500, ge=1, description="most records per transaction")
    fetch_max_wait_ms: int = Field(
        default=20,
        ge=1,
        description="longest poll of the broker. A partition with data can wait for another's "
        "long poll, so this bounds the latency that a hop can add",
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
        default=6, ge=2, description="most connections of one process to its database"
    )
    outbox_lease_seconds: float = Field(
        default=5.0,
        gt=0,
        description="how long a committed outbox row is left to the process that wrote it",
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

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """Read the environment, or leave with an explanation."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            for problem in error.errors():
                name = ".".join(map(str, problem["loc"])).upper() or cls.__name__
                print(f"setting {name}: {problem['msg']}", file=sys.stderr)
            print("Set these environment variables and start again.", file=sys.stderr)
            raise SystemExit(78) from None  # EX_CONFIG
