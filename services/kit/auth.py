"""Who is calling: a bearer token (JWT) becomes a `Caller`.

Tokens come from the shop's identity provider. It either shares a secret (HS256) or publishes
public keys (JWKS). A token says `sub` (the customer, or the member of staff), `exp`, and `roles`;
what a role allows is decided by the service that is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, Self

import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field, SecretStr, model_validator

from services.kit.problems import ApiProblem
from services.kit.published_keys import PublishedKeys
from services.kit.settings import ServiceSettings

_ASYMMETRIC = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
"""With a JWKS no shared-secret algorithm: a public key must never be taken for a secret."""
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
    jwks_max_age_seconds: float = Field(
        default=3600.0,
        gt=0,
        description="how long published keys are used while the identity provider cannot be "
        "reached; after that tokens are refused (503). They are refreshed every 5 minutes, or four "
        "times in this period if that is sooner: so long a withdrawn key is still accepted",
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
    def jwks_max_age_seconds(self) -> float: ...
    @property
    def jwt_issuer(self) -> str | None: ...
    @property
    def jwt_audience(self) -> str | None: ...


class Tokens:
    """Checks tokens as the settings say. `used_by` is the label of the metrics."""

    def __init__(self, settings: Checks, *, used_by: str = "api") -> None:
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._published: PublishedKeys | None = None
        if settings.jwks_url:
            self._published = PublishedKeys(
                settings.jwks_url, used_by=used_by, max_age=settings.jwks_max_age_seconds
            )
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience

    async def refresh_keys(self) -> None:
        """Keep the published keys fresh until cancelled; return at once where a secret is used."""
        if self._published is not None:
            await self._published.run()

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
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in _ASYMMETRIC:  # decided without a fetch for its key id
            raise jwt.InvalidAlgorithmError
        return await self._published.get(header.get("kid")), _ASYMMETRIC


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
