"""Settings of the payment service, from environment variables."""

import re
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.kit.settings import ServiceSettings
from services.payment.model import FailurePolicy, Terms

_KEY = re.compile(r"(sk|rk)_(test|live)_\w+")


class PaymentSettings(ServiceSettings):
    payment_provider: Literal["stripe", "instant"] = Field(
        default="stripe", description="instant: every payment succeeds at once, for benchmarks"
    )
    payment_failure_policy: FailurePolicy = Field(
        default="cancel",
        description="cancel: a declined payment ends the order; retry: the customer may try "
        "another card until the reservation expires",
    )
    stripe_secret_key: SecretStr = Field(
        default=SecretStr(""), description="sk_... or rk_...; required unless instant"
    )
    stripe_api_base: str = Field(default="", description="address of a stand-in; empty: Stripe")
    stripe_calls_per_second: float = Field(
        default=80,
        gt=0,
        description="of this process; Stripe takes about 100 writes a second in live mode, from "
        "all processes together",
    )
    stripe_workers: int = Field(
        default=32,
        ge=1,
        le=100,
        description="calls at once; the HTTP client opens 100 connections at most",
    )
    stripe_timeout_seconds: float = Field(
        default=10, gt=0, le=12, description="of one HTTP request; shorter than the lease of a call"
    )
    stripe_key_lifetime_seconds: float = Field(
        default=23 * 3600,
        ge=0,
        description="Stripe may forget an idempotency key after 24 h: a call that is older looks "
        "for its effect before it is repeated",
    )
    stripe_search_delay_seconds: float = Field(
        default=90,
        ge=0,
        description="Stripe's search knows a new intent within a minute: only after so long does "
        "a search that finds nothing count, and a new key is used",
    )

    reconcile_seconds: float = Field(
        default=60,
        gt=0,
        description="how often Stripe's own list of events is compared with what has come, and "
        "how long an event is left to its webhook",
    )
    open_too_long_seconds: float = Field(
        default=600,
        gt=0,
        description="the age at which Stripe is asked about a payment that has not ended; asked "
        "again each time its age has doubled",
    )

    @model_validator(mode="after")
    def _key_fits_address(self) -> Self:
        key = self.stripe_secret_key.get_secret_value()
        if self.payment_provider == "instant":
            if self.production:
                raise ValueError("PRODUCTION is set and PAYMENT_PROVIDER=instant takes no money")
            if "_live_" in key:
                raise ValueError("PAYMENT_PROVIDER=instant takes no live STRIPE_SECRET_KEY")
            return self
        if not _KEY.fullmatch(key):
            raise ValueError(
                "STRIPE_SECRET_KEY must be a secret or restricted key of Stripe: "
                "sk_test_..., sk_live_..., rk_test_... or rk_live_..."
            )
        if self.stripe_api_base and self.livemode:
            raise ValueError(
                "STRIPE_SECRET_KEY is a live key and STRIPE_API_BASE is set: a live key goes to "
                "Stripe only. Unset STRIPE_API_BASE, or use a test key"
            )
        if self.livemode and not self.production:
            raise ValueError(
                "STRIPE_SECRET_KEY is a live key and PRODUCTION is not set: use a test key, or set "
                "PRODUCTION=true where the customers are real"
            )
        if self.production and not self.livemode:
            raise ValueError(
                "PRODUCTION is set and STRIPE_SECRET_KEY is a test key: goods would be sent for "
                "payments that move no money"
            )
        if self.stripe_api_base and not re.match(r"https?://", self.stripe_api_base):
            raise ValueError("STRIPE_API_BASE must start with http:// or https://")
        return self

    @property
    def livemode(self) -> bool:
        return "_live_" in self.stripe_secret_key.get_secret_value()

    @property
    def terms(self) -> Terms:
        return Terms(self.payment_failure_policy, self.livemode)
