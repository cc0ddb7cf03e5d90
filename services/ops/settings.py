"""Settings of the ops service, from environment variables."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Self

from pydantic import Field, model_validator

from services.kit.auth import TokenSettings


class ProxySettings(TokenSettings):
    """Whether a proxy may sign people in to the console, and as what."""

    oidc_proxies: str | None = Field(
        default=None,
        description="networks (CIDR, comma-separated) of the proxies that sign people in to the "
        "console by an ID token in a header; without it none does",
    )
    oidc_header: str = Field(
        default="Authorization",
        pattern=r"^[A-Za-z0-9-]+$",
        description="the header that brings the ID token, with `Bearer` or without",
    )
    oidc_jwks_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="where the issuer of ID tokens publishes its public keys",
    )
    oidc_issuer: str | None = Field(default=None, description="required `iss` of an ID token")
    oidc_audience: str | None = Field(
        default=None, description="required `aud` of an ID token: the proxy's client id"
    )
    oidc_claim: str = Field(
        default="groups", min_length=1, description="the claim of an ID token that tells roles"
    )
    oidc_viewer: str = Field(
        default="viewer", min_length=1, description="the value there that makes a viewer"
    )
    oidc_operator: str = Field(default="operator", min_length=1, description="an operator")
    oidc_admin: str = Field(default="admin", min_length=1, description="an admin")

    @model_validator(mode="after")
    def _can_check_id_tokens(self) -> Self:
        if self.oidc_proxies is None:
            return self
        if not (self.oidc_jwks_url and self.oidc_issuer and self.oidc_audience):
            raise ValueError("OIDC_PROXIES needs OIDC_JWKS_URL, OIDC_ISSUER and OIDC_AUDIENCE")
        try:
            networks = self.oidc_networks
        except ValueError as error:
            raise ValueError(f"OIDC_PROXIES: {error}") from None
        if not networks:
            raise ValueError("OIDC_PROXIES names no network")
        if any(network.prefixlen == 0 for network in networks):
            raise ValueError("OIDC_PROXIES: everybody is no trusted proxy")
        return self

    @property
    def oidc_networks(self) -> list[IPv4Network | IPv6Network]:
        """Raises ValueError for what is no network."""
        parts = (part.strip() for part in (self.oidc_proxies or "").split(","))
        return [ip_network(part) for part in parts if part]


class OpsSettings(ProxySettings):
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
