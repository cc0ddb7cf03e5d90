"""Tokens as the shop's identity provider would issue them, for people and tests to try with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt

LIFETIME = timedelta(days=1)


def token(secret: str, customer: str, *roles: str) -> str:
    """A bearer token (HS256) for a customer id; the role `admin` opens the /v1/admin calls,
    `viewer` and `operator` the ops service's."""
    now = datetime.now(UTC)
    claims = {"sub": customer, "roles": list(roles), "iat": now, "exp": now + LIFETIME}
    return jwt.encode(claims, secret, algorithm="HS256")
