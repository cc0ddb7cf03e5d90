"""The signature of a Stripe webhook: who sent it, and when.

`Stripe-Signature: t=1700000000,v1=<hex>,v1=<hex>` signs `{t}.{raw body}` with HMAC-SHA256, once
per secret while one is being rotated. See https://docs.stripe.com/webhooks#verify-manually.
"""

import hmac
from collections.abc import Sequence

TOLERANCE_SECONDS = 300
"""Stripe's own default; in both directions, so that nothing can be signed for later use."""


class SignatureInvalid(ValueError):  # noqa: N818  # a finding about the header
    """The text says why; it is safe to show to the sender."""


def verify(payload: bytes, header: str | None, secrets: Sequence[str], *, now: float) -> None:
    """Return if one signature of `header` was made with one of `secrets` close to `now` (seconds).

    Raises:
        SignatureInvalid: it was not, or there is no readable header.
    """
    if not header:
        raise SignatureInvalid("the Stripe-Signature header is missing")
    timestamp, signatures = _parse(header)
    expected = [
        hmac.digest(secret.encode(), timestamp.encode() + b"." + payload, "sha256").hex().encode()
        for secret in secrets
    ]
    # Every pair is compared, each in constant time: the time taken tells nothing.
    matches = [hmac.compare_digest(e, s) for e in expected for s in signatures]
    if not any(matches):
        raise SignatureInvalid("no signature matches the payload")
    age = now - int(timestamp)
    if age > TOLERANCE_SECONDS:
        raise SignatureInvalid("the timestamp is too old")
    if age < -TOLERANCE_SECONDS:
        raise SignatureInvalid("the timestamp is in the future")


def _parse(header: str) -> tuple[str, list[bytes]]:
    timestamp = None
    signatures = []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            timestamp = value
        elif name == "v1":
            signatures.append(value.encode())
    if timestamp is None or not (timestamp.isascii() and timestamp.isdecimal()):
        raise SignatureInvalid("the header has no timestamp")
    if len(timestamp) > 12:
        raise SignatureInvalid("the timestamp is in the future")
    if not signatures:
        raise SignatureInvalid("the header has no v1 signature")
    return timestamp, signatures
