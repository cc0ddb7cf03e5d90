"""The console in one process with an ops database, and somebody who looks at it."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from contracts.order import OrderStatus, OrderUpdated, PaymentStatus
from deploy.local.tokens import token
from services.ops.app import build
from services.ops.settings import OpsSettings
from tests.ops.conftest import Watch

SECRET = "only for tests of the console, and long enough"


class _Text(HTMLParser):
    """What a browser would show as text, and which elements there are."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


@dataclass(frozen=True)
class Seen:
    """A page as it came."""

    answer: httpx.Response

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def text(self) -> str:
        """Without markup, white space as one space."""
        return re.sub(r"\s+", " ", "".join(self._parsed().parts))

    @property
    def elements(self) -> list[tuple[str, dict[str, str | None]]]:
        return self._parsed().elements

    @property
    def links(self) -> list[str]:
        return [attrs["href"] or "" for tag, attrs in self.elements if "href" in attrs]

    @property
    def csrf(self) -> str:
        return next(
            attrs["value"] or "" for _, attrs in self.elements if attrs.get("name") == "csrf"
        )

    @property
    def hidden(self) -> dict[str, str]:
        """What the forms carry by themselves; of fields of one name the last."""
        return {
            attrs["name"] or "": attrs["value"] or ""
            for _, attrs in self.elements
            if attrs.get("type") == "hidden"
        }

    @property
    def marked(self) -> list[str | None]:
        """The fields that are said to be wrong."""
        return [attrs["name"] for _, attrs in self.elements if "aria-invalid" in attrs]

    def _parsed(self) -> _Text:
        parser = _Text()
        parser.feed(self.answer.text)
        parser.close()
        return parser


class Somebody:
    """A browser: it keeps cookies, and follows no redirect unless asked."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def see(self, path: str, **query: Any) -> Seen:
        return Seen(await self.client.get(f"/console{path}", params=query or None))

    async def post(self, path: str, **fields: Any) -> Seen:
        return Seen(await self.client.post(f"/console{path}", data=fields))

    async def sign_in(self, given: str, **more: str) -> Seen:
        form = await self.see("/sign-in")
        return await self.post("/sign-in", csrf=form.csrf, token=given, **more)


@pytest.fixture
def console(watch: Watch) -> FastAPI:
    """The ops service's web application, whose database `watch` fills."""
    service, app = build(
        OpsSettings(
            database_url="postgresql://", kafka_bootstrap_servers="nobody:1", jwt_secret=SECRET
        )
    )
    service.pool = watch.pool
    service._unit_of_work = watch.work
    return app


@pytest.fixture
async def visitor(console: FastAPI) -> AsyncIterator[Somebody]:
    transport = httpx.ASGITransport(console, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield Somebody(client)


@pytest.fixture
async def viewer(visitor: Somebody) -> Somebody:
    assert (await visitor.sign_in(token(SECRET, "vusi", "viewer"))).status == 303
    return visitor


@pytest.fixture
async def operator(visitor: Somebody) -> Somebody:
    assert (await visitor.sign_in(token(SECRET, "thabo", "operator"))).status == 303
    return visitor


@pytest.fixture
async def admin(visitor: Somebody) -> Somebody:
    assert (await visitor.sign_in(token(SECRET, "naledi", "admin"))).status == 303
    return visitor


def updated(
    order_id: UUID,
    *,
    version: int = 1,
    status: str = "pending",
    customer: str = "anna",
    payment: str = "unpaid",
) -> OrderUpdated:
    """How an order is published."""
    at = datetime(2026, 11, 24, 8, version, tzinfo=UTC)
    return OrderUpdated(
        order_id=order_id,
        customer_id=customer,
        version=version,
        status=OrderStatus(status),
        payment_status=PaymentStatus(payment),
        total=12000,
        currency="zar",
        items=(),
        payment=None,
        history=(),
        updated_by="order-service",
        admin_notes=None,
        created_at=at,
        updated_at=at,
    )
