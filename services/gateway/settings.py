"""What the gateway is told: how to check tokens and the signatures of webhooks."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.kit.auth import TokenSettings


class Settings(TokenSettings):
    stripe_webhook_secret: SecretStr = Field(
        description="signing secret of the webhook endpoint; several, comma-separated, while one "
        "is being rotated"
    )
    database_pool_size: int = Field(
        default=10,
        ge=2,
        description="most connections of one process, and most requests that it works on at once; "
        "its consumer has three connections more",
    )

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        parts = self.stripe_webhook_secret.get_secret_value().split(",")
        return tuple(part.strip() for part in parts if part.strip())

    @model_validator(mode="after")
    def _has_webhook_secrets(self) -> Self:
        if not self.webhook_secrets:
            raise ValueError("STRIPE_WEBHOOK_SECRET is empty")
        return self
