"""Who may do what: every route of the API and the console with every role; and the database roles.

The routes are read from the application. One that this table does not know, or that is gone, fails.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from contracts.message import new_message_id
from deploy.local.stack import LocalStack
from deploy.local.tokens import token
from services.ops.app import build
from services.ops.bulk import Action
from services.ops.console.session import Session
from services.ops.settings import OpsSettings
from tests.ops.console.conftest import SECRET, Somebody, console, visitor

__all__ = ["console", "visitor"]

LEAST_ROLE: Final[dict[str, str]] = {
    "GET /docs": "nobody",
    "GET /docs/oauth2-redirect": "nobody",
    "GET /openapi.json": "nobody",
    "GET /redoc": "nobody",
    "GET /healthz": "nobody",
    "GET /metrics": "nobody",
    "GET /readyz": "nobody",
    "GET /v1/audit": "viewer",
    "GET /v1/audit/verdict": "viewer",
    "GET /v1/bulks": "viewer",
    "PUT /v1/bulks/{bulk_id}": "admin",  # to cancel, as it is asked here; more of it below
    "GET /v1/bulks/{bulk_id}": "viewer",
    "GET /v1/dead-letters": "viewer",
    "GET /v1/dead-letters/causes": "viewer",
    "GET /v1/dead-letters/{service}/{parked_id}": "viewer",
    "POST /v1/dead-letters/replay": "operator",
    "POST /v1/dead-letters/discard": "admin",
    "GET /v1/lag": "viewer",
    "GET /v1/operations": "viewer",
    "GET /v1/orders": "viewer",
    "GET /v1/orders/{order}": "viewer",
    "GET /v1/orders/{order}/trace": "viewer",
    "GET /v1/orders/{order}/stripe-events": "viewer",
    "PUT /v1/orders/{order}/notes/{note_id}": "operator",
    "PUT /v1/orders/{order}/payment-checks/{check_id}": "operator",
    "GET /v1/refunds/refused": "viewer",
    "GET /v1/sagas": "viewer",
    "GET /v1/sagas/stuck": "viewer",
    "GET /v1/stock": "viewer",
    "GET /v1/verdict": "viewer",
    "GET /v1/stock/{product_id}": "viewer",
    "GET /v1/stock/adjustments/{adjustment_id}": "viewer",
    "PUT /v1/stock/adjustments/{adjustment_id}": "admin",
    "GET /console": "nobody",  # leads to the overview
    "GET /console/static": "nobody",
    "GET /console/sign-in": "nobody",
    "POST /console/sign-in": "nobody",
    "GET /console/": "viewer",
    "GET /console/audit": "viewer",
    "GET /console/audit/verdict": "viewer",
    "GET /console/bulks": "viewer",
    "GET /console/bulks/new": "viewer",
    "POST /console/bulks": "admin",  # to cancel, as above
    "GET /console/bulks/{bulk_id}": "viewer",
    "GET /console/dead-letters": "viewer",
    "GET /console/dead-letters/cause": "viewer",
    "GET /console/dead-letters/{service}/{parked_id}": "viewer",
    "POST /console/dead-letters/replay": "operator",
    "POST /console/dead-letters/discard": "admin",
    "GET /console/operations": "viewer",
    "GET /console/orders": "viewer",
    "GET /console/orders/{order}": "viewer",
    "GET /console/orders/{order}/events": "viewer",
    "GET /console/orders/{order}/now": "viewer",
    "POST /console/orders/{order}/notes": "operator",
    "POST /console/orders/{order}/payment-check": "operator",
    "POST /console/orders/{order}/refund": "admin",
    "GET /console/overview/lag": "viewer",
    "GET /console/overview/now": "viewer",
    "GET /console/refunds": "viewer",
    "GET /console/refunds/{order}": "viewer",
    "POST /console/refunds/{order}/retry": "admin",
    "POST /console/refunds/{order}/settle": "admin",
    "GET /console/sagas": "viewer",
    "GET /console/sagas/{order}": "viewer",
    "POST /console/sagas/{order}/retry": "operator",
    "GET /console/stock": "viewer",
    "GET /console/stock/{product}": "viewer",
    "GET /console/stock/{product}/now": "viewer",
    "POST /console/stock/{product}/adjust": "admin",
    "GET /console/stock/adjustments/{adjustment_id}": "viewer",
    "POST /console/sign-out": "customer",
}
TOKENS: Final = {
    "nobody": None,
    "customer": token(SECRET, "somebody", "customer", "Admin", "VIEWER", "staff"),
    "viewer": token(SECRET, "somebody", "viewer"),
    "operator": token(SECRET, "somebody", "operator"),
    "admin": token(SECRET, "somebody", "admin"),
}
"""By the role that counts, the least first."""
ROLES: Final = list(TOKENS)


def served(mounted: Any, below: str = "") -> Iterator[tuple[str, set[str], Any]]:
    """Address, methods and route of all that is served, those of applications within included."""
    for route in iter_route_contexts(mounted.routes):
        path = f"{below}{route.path}"
        inner = route.original_route
        if isinstance(inner, Mount) and hasattr(inner.app, "routes"):
            yield from served(inner.app, path)
        else:
            # HEAD is answered by what answers GET.
            yield path, (route.methods or {"GET"}) - {"HEAD"}, inner


def test_every_route_is_known() -> None:
    nowhere: Any = {"database_url": "postgresql://", "kafka_bootstrap_servers": "nobody:1"}
    _, app = build(OpsSettings(**nowhere, jwt_secret=SECRET))
    routes = [f"{method} {path}" for path, methods, _ in served(app) for method in methods]
    assert sorted(routes) == sorted(LEAST_ROLE)


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_do_what(visitor: Somebody, role: str) -> None:
    wrong = []
    for route, least in LEAST_ROLE.items():
        method, _, path = route.partition(" ")
        answer = await ask(visitor.client, role, method, path)
        if not as_expected(answer, role, least, console=path.startswith("/console")):
            wrong.append((route, answer.status_code))
    assert not wrong


def whose() -> dict[str, Any]:
    """Parts of addresses, of what is nobody's: no order's stream, which would never end."""
    return {
        "order": uuid4(),
        "service": "order",
        "parked_id": 10**12,
        "product_id": uuid4(),
        "product": uuid4(),
        "adjustment_id": new_message_id(),
        "bulk_id": new_message_id(),
        "note_id": new_message_id(),
        "check_id": new_message_id(),
    }


async def ask(client: httpx.AsyncClient, role: str, method: str, path: str) -> httpx.Response:
    """As somebody of that role, for what changes nothing, whoever asks for it."""
    query = {"id": str(uuid4()), "service": "order", "cause": "none", "action": "cancel"}
    given = FORM if path.startswith("/console") else BODY
    return await send(client, role, method, path.format(**whose()), query, given)


async def send(
    client: httpx.AsyncClient,
    role: str,
    method: str,
    address: str,
    query: Mapping[str, Any],
    given: Mapping[str, Any],
) -> httpx.Response:
    """As somebody of that role, with the token or the session and form that it asks for."""
    by = TOKENS[role]
    if not address.startswith("/console"):
        headers = {"Authorization": f"Bearer {by}"} if by else {}
        body = None if method == "GET" else given
        return await client.request(method, address, json=body, headers=headers, params=query)
    session = Session.begin(by or "")
    headers = {"Cookie": f"ops-console={session.secret}.{session.token}"}
    form = None if method == "GET" else {**given, "csrf": session.csrf}
    address = f"{address}/console.css" if address.endswith("/static") else address
    return await client.request(method, address, data=form, headers=headers, params=query)


BODY: Final[Any] = {
    "letters": [{"service": "order", "parked_id": 10**12}],
    "product_id": str(uuid4()),
    "delta": 1,
    "action": "cancel",
    "order_ids": [str(uuid4())],
    "reason": "a test",
    "text": "a test",
}
FORM: Final = {
    "service": "order",
    "parked_id": str(10**12),
    "reason": "a test",
    "token": "none",
    "text": "a test",
    "id": str(new_message_id()),
    "action": "cancel",
    "order": str(uuid4()),
}


def as_expected(answer: httpx.Response, role: str, least: str, *, console: bool) -> bool:
    leads_to = answer.headers.get("location", "")
    to_sign_in = answer.status_code == 303 and leads_to.startswith("/console/sign-in")
    if ROLES.index(role) >= ROLES.index(least):
        if console:  # signing in with no token is 401, signing out leads to the form
            return answer.status_code in {200, 401, 404} or leads_to in {
                *("/console/", "/console/sign-in")
            }
        return answer.status_code in {200, 202, 404, 503}  # there is no Kafka here
    if role == "nobody":
        return to_sign_in if console else answer.status_code == 401
    return answer.status_code == 403


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", ROLES)
async def test_an_operator_moves_orders_along_and_takes_nothing_back(
    visitor: Somebody, role: str, action: Action
) -> None:
    given = TOKENS[role]
    answer = await visitor.client.put(
        f"/v1/bulks/{new_message_id()}",
        json=BODY | {"action": action} | ({"amount": 0} if action == "settle_refund" else {}),
        headers={"Authorization": f"Bearer {given}"} if given else {},
    )
    admins = ("cancel", "refund", "retry_refund", "settle_refund")
    least = "admin" if action in admins else "operator"
    allowed = ROLES.index(role) >= ROLES.index(least)
    assert answer.status_code == (404 if allowed else 401 if role == "nobody" else 403)
    if role == "operator" and not allowed:
        assert answer.json()["detail"] == "This needs the role admin"


async def test_its_database_roles_reach_no_other_database(stack: LocalStack) -> None:
    own = stack.environment_of("ops")["DATABASE_URL"]
    assert "//ops_runtime:" in own
    for dsn in (own, stack.postgres["ops"]):
        for database in ("orders", "inventory", "payment", "gateway", "postgres"):
            address = f"{dsn.rpartition('/')[0]}/{database}"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(address)
