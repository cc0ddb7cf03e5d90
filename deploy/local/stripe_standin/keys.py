"""API keys: who calls, and what a customer's publishable key may see."""

import base64
import binascii
import re

from deploy.local.stripe_standin.errors import Json, StripeError, unauthorized

# What Stripe.js shows of an intent: nothing of the merchant's own notes.
_PUBLIC_FIELDS = """
    id object amount automatic_payment_methods canceled_at cancellation_reason
    capture_method client_secret confirmation_method created currency description
    last_payment_error livemode next_action payment_method payment_method_types processing
    receipt_email setup_future_usage shipping status
"""


def is_publishable(authorization: str) -> bool:
    """Whether the key is a publishable one; it comes as a bearer or as a Basic user.

    Raises StripeError 401 for no key, a live one, or one that is none of Stripe's.
    """
    scheme, _, value = authorization.partition(" ")
    key = value.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key).decode().split(":")[0]
        except (binascii.Error, UnicodeDecodeError) as error:
            raise unauthorized("The Basic authorization header cannot be read.") from error
    if not key:
        raise unauthorized(
            "You did not provide an API key. You need to provide your API key in the "
            "Authorization header, using Bearer auth (e.g. 'Authorization: Bearer "
            "YOUR_SECRET_KEY')."
        )
    if re.match(r"(sk|pk|rk)_live_", key):
        raise unauthorized(
            "A live API key was sent to the Stripe stand-in, which refuses it. Use a key that "
            "starts with sk_test_ or pk_test_, and consider rolling the live one."
        )
    if not re.fullmatch(r"(sk|pk|rk)_test_\w+", key):
        raise unauthorized(f"Invalid API Key provided: {key[:8]}{'*' * 8}")
    return key.startswith("pk_")


def refuse_publishable() -> StripeError:
    """401: a customer asked for what only the merchant may do."""
    return unauthorized(
        "This API call cannot be made with a publishable API key. Please use a secret API key. "
        "You can find a list of your API keys at https://dashboard.stripe.com/account/apikeys.",
        code="secret_key_required",
    )


def public(intent: Json) -> Json:
    """The part of an intent that a customer may see."""
    return {name: intent[name] for name in _PUBLIC_FIELDS.split()}
