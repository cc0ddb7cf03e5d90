"""What every route needs, in one place, and how a route gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from services.gateway.auth import Caller, Tokens
from services.gateway.problems import ApiProblem
from services.gateway.settings import Settings
from services.gateway.waiting import Hub
from services.kit.service import Service


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    service: Service
    hub: Hub
    tokens: Tokens


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(_gateway)]


# Without its own errors, which would be no problem documents.
_BEARER = HTTPBearer(
    auto_error=False, bearerFormat="JWT", description="a token of the identity provider"
)


async def _caller(
    gateway: TheGateway,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> Caller:
    return await gateway.tokens.caller(bearer.credentials if bearer else None)


SignedIn = Annotated[Caller, Depends(_caller)]


async def _staff(caller: SignedIn) -> Caller:
    if not caller.is_admin:
        raise ApiProblem(403, "This call needs the role admin")
    return caller


Staff = Annotated[Caller, Depends(_staff)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="up to 255 visible ASCII characters, kept for 24 hours per customer: the same "
        "key and body get the same answer",
    ),
]
