"""What every route needs, in one place, and how a route gets at it."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from services.gateway.settings import Settings
from services.gateway.waiting import Hub
from services.kit.service import Service


@dataclass(frozen=True, slots=True)
class Gateway:
    settings: Settings
    service: Service
    hub: Hub


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.app.state.gateway
    return gateway


TheGateway = Annotated[Gateway, Depends(_gateway)]

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="up to 255 visible ASCII characters, kept for 24 hours per customer: the same "
        "key and body get the same answer",
    ),
]
