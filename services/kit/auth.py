"""Who is calling: a bearer token (JWT) becomes a `Caller`.

Tokens come from the shop's identity provider. It either shares a secret (HS256) or publishes
public keys (JWKS). A token says `sub` (the customer, or the member of staff), `exp`, and `roles`;
what a role allows is decided by the service that is called.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self

import aiohttp
import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field, SecretStr, model_validator

from services.kit.problems import ApiProblem, unavailable
from services.kit.settings import ServiceSettings
from services.kit.telemetry import log

_ASYMMETRIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""With a JWKS no shared-secret algorithm: a public key must never be taken for a secret."""
_KEYS_FRESH_SECONDS = 300
_FETCH_PAUSE_SECONDS = 10
"""Tokens with made-up key ids must not make us call the identity provider each time."""
_LONGEST_SUBJECT = 255
_SHORTEST_SECRET = 32
"""Bytes of an HS256 key (RFC 7518, section 3.2): a shorter one can be guessed offline."""


class TokenSettings(ServiceSettings):
    """What a service that takes bearer tokens is told about them."""

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

    @model_validator(mode="after")
    def _can_check_tokens(self) -> Self:
        if (self.jwt_secret is None) == (self.jwks_url is None):
            raise ValueError("set either JWT_SECRET or JWKS_URL, so that tokens can be checked")
        if (
            self.jwt_secret is not None
            and len(self.jwt_secret.get_secret_value().encode()) < _SHORTEST_SECRET
        ):
            raise ValueError(f"JWT_SECRET needs at least {_SHORTEST_SECRET} bytes")
        return self


@dataclass(frozen=True, slots=True)
class Caller:
    customer_id: str
    roles: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


class Checks(Protocol):
    """How to tell a token that is good: by a secret or published keys, as in `TokenSettings`."""

    @property
    def jwt_secret(self) -> SecretStr | None: ...
    @property
    def jwks_url(self) -> str | None: ...
    @property
    def jwt_issuer(self) -> str | None: ...
    @property
    def jwt_audience(self) -> str | None: ...


class Tokens:
    """Checks tokens as the settings say."""

    def __init__(self, settings: Checks) -> None:
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._published = PublishedKeys(settings.jwks_url) if settings.jwks_url else None
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

    async def caller(self, token: str | None) -> Caller:
        """Read a bearer token, None where there is none.

        Raises:
            ApiProblem: 401 with the reason; 503 when the identity provider's keys are needed and
                cannot be had.
        """
        if not token:
            raise ApiProblem(
                401, "This call needs a bearer token", headers={"WWW-Authenticate": "Bearer"}
            )
        return caller_from(await self.claims(token))

    async def claims(self, token: str) -> dict[str, Any]:
        """What a good token says; raises as `caller` does."""
        try:
            key, algorithms = await self._key(token)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                issuer=self._issuer,
                audience=self._audience,
                options={"require": ["sub", "exp"], "verify_aud": self._audience is not None},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("The token has expired") from None
        except (jwt.PyJWTError, ValueError):
            raise _invalid("The token is not valid") from None
        return claims

    async def _key(self, token: str) -> tuple[Any, Sequence[str]]:
        if self._published is None:
            return self._secret, ["HS256"]
        return await self._published.get(jwt.get_unverified_header(token).get("kid")), _ASYMMETRIC


def caller_from(claims: dict[str, Any]) -> Caller:
    """Raises ApiProblem (401) when a claim is not of its type."""
    subject, roles = claims.get("sub"), claims.get("roles") or []
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise _invalid("The token has no usable subject")
    if not subject.isprintable():
        raise _invalid("The token has no usable subject")
    if not isinstance(roles, list):
        raise _invalid("The token's roles are not a list")
    return Caller(subject, frozenset(role for role in roles if isinstance(role, str)))


def _invalid(detail: str) -> ApiProblem:
    return ApiProblem(401, detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


# Without its own errors, which would be no problem documents.
_BEARER = HTTPBearer(
    auto_error=False, bearerFormat="JWT", description="a token of the identity provider"
)


async def _caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> Caller:
    tokens: Tokens = request.app.state.tokens
    return await tokens.caller(bearer.credentials if bearer else None)


SignedIn = Annotated[Caller, Depends(_caller)]
"""The parameter of a route that needs a caller; the application has `state.tokens`."""


async def _staff(caller: SignedIn) -> Caller:
    if not caller.is_admin:
        raise ApiProblem(403, "This call needs the role admin")
    return caller


Staff = Annotated[Caller, Depends(_staff)]
"""The parameter of a route that needs the role admin."""


class PublishedKeys:
    """The identity provider's public keys by id, fetched again when they are old or one is new."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching = asyncio.Lock()

    async def get(self, key_id: str | None) -> jwt.PyJWK:
        """Raises jwt.InvalidKeyError for an unknown id, ApiProblem (503) when none are known."""
        async with self._fetching:
            now = time.monotonic()
            wanted = key_id not in self._keys or now - self._fetched > _KEYS_FRESH_SECONDS
            if wanted and now - self._tried > _FETCH_PAUSE_SECONDS:
                self._tried = now
                await self._fetch()
        if not self._keys:
            raise unavailable("Tokens cannot be checked right now; please try again")
        if key_id not in self._keys:
            raise jwt.InvalidKeyError("no such key")
        return self._keys[key_id]

    async def _fetch(self) -> None:
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with (
                aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
                session.get(self._url) as response,
            ):
                published = jwt.PyJWKSet.from_dict(await response.json(content_type=None))
        except (aiohttp.ClientError, TimeoutError, jwt.PyJWTError, ValueError) as error:
            # Keys that were good a moment ago are good enough until the provider is back.
            log.warning("no keys from the identity provider", error=repr(error))
            return
        self._keys = {key.key_id: key for key in published.keys}
        self._fetched = time.monotonic()
