"""Signing in by a proxy that knows people already (OIDC): an ID token in a header of each request.

The token's signature, issuer, audience and end are checked here, with the issuer's published keys:
the proxy is believed to hand on a header, not to say who somebody is. And the header is taken only
from a proxy's network, so that a token that got lost opens nothing to others.
"""

from ipaddress import ip_address
from typing import Any, NamedTuple

from fastapi import Request

from services.kit.auth import Caller, Tokens, caller_from
from services.kit.problems import ApiProblem
from services.kit.telemetry import log
from services.ops.access import Role
from services.ops.settings import ProxySettings


class _Checks(NamedTuple):
    jwks_url: str | None
    jwks_max_age_seconds: float
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_secret: None = None


class Proxies:
    """Those that the settings trust; none unless they say so."""

    def __init__(self, settings: ProxySettings) -> None:
        self._networks = settings.oidc_networks
        self._header = settings.oidc_header
        self._claim = settings.oidc_claim
        self._roles = {
            settings.oidc_viewer: Role.VIEWER,
            settings.oidc_operator: Role.OPERATOR,
            settings.oidc_admin: Role.ADMIN,
        }
        self._tokens: Tokens | None = None
        if self._networks:
            checks = _Checks(
                settings.oidc_jwks_url,
                settings.jwks_max_age_seconds,
                settings.oidc_issuer,
                settings.oidc_audience,
            )
            self._tokens = Tokens(checks, used_by="console")

    async def refresh_keys(self) -> None:
        """Keep the issuer's keys fresh until cancelled; return at once where no proxy is set."""
        if self._tokens is not None:
            await self._tokens.refresh_keys()

    async def caller(self, request: Request) -> Caller | None:
        """Whom the request's header is about; None without one.

        Raises:
            ApiProblem: 401 when the token or who brings it is not to be believed, which is logged;
                503 when the issuer's keys are needed and cannot be had.
        """
        given = request.headers.get(self._header)
        if self._tokens is None or given is None:
            return None
        peer = request.client.host if request.client else ""
        try:
            if not self._trusted(peer):
                raise ApiProblem(401, f"{self._header} came past the proxy that signs people in")
            token = given.removeprefix("Bearer ").strip()
            claims = await self._tokens.claims(token)
            return caller_from(claims | {"roles": self._roles_in(claims)})
        except ApiProblem as problem:
            log.warning("the console believes no header", why=str(problem), peer=peer)
            raise

    def _trusted(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:  # a socket without addresses
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def _roles_in(self, claims: dict[str, Any]) -> list[str]:
        told = claims.get(self._claim)
        values = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        return [
            self._roles[each] for each in values if isinstance(each, str) and each in self._roles
        ]
