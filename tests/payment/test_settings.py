"""The service does not start with settings that could cost money."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.payment.settings import PaymentSettings

STANDIN = "http://127.0.0.1:12111"


def settings(**given: Any) -> PaymentSettings:
    return PaymentSettings(database_url="postgresql://x", kafka_bootstrap_servers="x:1", **given)


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
def test_a_live_key_never_goes_to_a_stand_in(key: str) -> None:
    with pytest.raises(ValidationError, match="a live key goes to Stripe only"):
        settings(stripe_secret_key=key, stripe_api_base=STANDIN)
    assert settings(stripe_secret_key=key, production=True).terms.livemode


@pytest.mark.parametrize("key", ["sk_live_abc", "rk_live_abc"])
def test_a_live_key_is_taken_in_production_only(key: str) -> None:
    with pytest.raises(ValidationError, match="is a live key and PRODUCTION is not set"):
        settings(stripe_secret_key=key)


def test_production_takes_real_money_only() -> None:
    with pytest.raises(ValidationError, match="payments that move no money"):
        settings(stripe_secret_key="sk_test_abc", production=True)
    with pytest.raises(ValidationError, match="takes no money"):
        settings(payment_provider="instant", production=True)


def test_benchmarks_take_no_live_key() -> None:
    with pytest.raises(ValidationError, match="takes no live"):
        settings(payment_provider="instant", stripe_secret_key="sk_live_abc")
    assert not settings(payment_provider="instant").livemode


@pytest.mark.parametrize("key", ["", "pk_test_abc", "whsec_abc"])
def test_the_key_must_be_a_secret_one(key: str) -> None:
    with pytest.raises(ValidationError, match="must be a secret or restricted key"):
        settings(stripe_secret_key=key)


def test_the_key_is_not_shown() -> None:
    assert "abc" not in repr(settings(stripe_secret_key="sk_test_abc"))


def test_an_address_needs_its_scheme() -> None:
    with pytest.raises(ValidationError, match="must start with http"):
        settings(stripe_secret_key="sk_test_abc", stripe_api_base="127.0.0.1:12111")
