"""What the gateway is told: how to check tokens and the signatures of webhooks."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.kit.settings import ServiceSettings

_SHORTEST_SECRET = 32
"""Bytes of an HS256 key (RFC 7518, section 3.2): a shorter one can be guessed offline."""


class Settings(ServiceSettings):
    jwt_secret: SecretStr | None = Field(
        default=None, description="HS256 key of the identity provider, 32 bytes or more"
    )
    jwks_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="where the identity provider publishes its public keys",
    )
    jwt_issuer: str | None = Field(default=None, description="required `iss` of a token")
    jwt_audience: str | None = Field(default=None, description="required `aud` of a token")
    stripe_webhook_secret: SecretStr = Field(
        description="signing secret of the webhook endpoint; several, comma-separated, while one "
        "is being rotated"
    )
    database_pool_size: int = Field(
        default=10, ge=2, description="most connections of one process to its database"
    )

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        parts = self.stripe_webhook_secret.get_secret_value().split(",")
        return tuple(part.strip() for part in parts if part.strip())

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.jwt_secret is None) == (self.jwks_url is None):
            raise ValueError("set either JWT_SECRET or JWKS_URL, so that tokens can be checked")
        if (
            self.jwt_secret is not None
            and len(self.jwt_secret.get_secret_value().encode()) < _SHORTEST_SECRET
        ):
            raise ValueError(f"JWT_SECRET needs at least {_SHORTEST_SECRET} bytes")
        if not self.webhook_secrets:
            raise ValueError("STRIPE_WEBHOOK_SECRET is empty")
        return self
