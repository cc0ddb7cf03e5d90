"""Settings of the ops service, from environment variables."""

from pydantic import Field

from services.kit.auth import TokenSettings


class OpsSettings(TokenSettings):
    """`DATABASE_URL` is of the role that may only add to the audit; the owner's is
    `MIGRATIONS_DATABASE_URL`."""

    console_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="a port of its own for the console, which is then not at `HTTP_PORT`",
    )
    timeline_days: int = Field(
        default=30, ge=1, description="how long the messages of an order are kept; audit for ever"
    )
    stuck_after_seconds: float = Field(
        default=60.0,
        gt=0,
        description="an order that waits longer for an answer is listed as stuck",
    )
    audit_verify_seconds: float = Field(
        default=86400.0,
        gt=0,
        description="how often the whole audit is proved for the metrics; reads all of it",
    )
    low_stock: int = Field(
        default=5,
        ge=0,
        description="a product of which no more can be ordered is listed as low, unless it has a "
        "`low_stock_threshold` of its own",
    )
    inbox_retention_days: int = Field(
        default=100,
        ge=2,
        description="how long message ids are remembered; longer than any topic keeps records",
    )
    fetch_max_wait_ms: int = Field(
        default=250,
        ge=1,
        description="longest poll of the broker; who only watches need not ask so often",
    )
    database_pool_size: int = Field(
        default=4,
        ge=2,
        description="most connections of one process; its consumer has three more",
    )
