"""What can be set from outside: environment variables, their defaults and their reasons."""

from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    """Settings of one stand-in process; durations are in seconds."""

    # Loopback unless said otherwise: whoever reaches the stand-in can make payments succeed.
    http_host: str = "127.0.0.1"
    http_port: int = 12111
    log_level: str = "info"

    standin_database: Path = Path(".local/stripe.sqlite3")
    standin_seed: str = Field("", description="Empty: a new one at every start")

    # An endpoint that is there from the start, beside those made through the API.
    standin_webhook_url: str = ""
    stripe_webhook_secret: str = Field("", description="Comma-separated; the first one signs")

    # Stripe waits minutes to hours between attempts, for three days. A local stack recovers
    # within seconds, so the pauses are short; the three days are kept.
    standin_webhook_timeout: float = 10.0
    standin_webhook_backoff: float = 0.2
    standin_webhook_backoff_limit: float = 5.0
    standin_webhook_give_up: float = 3 * 86_400.0
    standin_webhook_concurrency: int = Field(50, description="Deliveries at once, per endpoint")

    standin_settlement_delay: float = Field(
        1.0, description="How long bank debits, pending and failing refunds take to settle"
    )
    standin_idempotency_ttl: float = 86_400.0
    standin_search_delay: float = Field(
        30.0, ge=0, description="How long a new intent is unknown to search; at Stripe up to 60 s"
    )
    standin_keep: int = Field(
        200_000, ge=1, description="Finished payment intents kept; five times as many events"
    )

    @model_validator(mode="after")
    def _webhooks_are_signed(self) -> "Settings":
        if self.standin_webhook_url and not self.signing_secret:
            raise ValueError(
                "STANDIN_WEBHOOK_URL needs STRIPE_WEBHOOK_SECRET, the secret its receiver verifies"
            )
        return self

    @property
    def signing_secret(self) -> str:
        """The secret that signs for the endpoint of STANDIN_WEBHOOK_URL; may be empty."""
        return self.stripe_webhook_secret.split(",")[0].strip()
