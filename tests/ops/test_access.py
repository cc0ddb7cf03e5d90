"""Who may do what: every route with every role, and the database roles."""

from uuid import uuid4

import asyncpg
import httpx
import pytest

from contracts.message import new_message_id
from deploy.local.stack import LocalStack
from services.ops.app import build
from services.ops.settings import OpsSettings

_, APP = build(
    OpsSettings(
        database_url="postgresql://",
        kafka_bootstrap_servers="nobody:1",
        jwt_secret="only for the routes" * 2,
    )
)
ROUTES = [
    (method.upper(), path)
    for path, operations in APP.openapi()["paths"].items()
    for method in operations
]
NOTHING = {
    "POST": {"letters": [{"service": "order", "parked_id": 10**12}], "reason": "a test"},
    "PUT": {
        "product_id": str(uuid4()),
        "delta": 1,
        "action": "cancel",
        "order_ids": [str(uuid4())],
        "reason": "a test",
        "text": "a test",
    },
}
"""What changes nothing, whoever asks for it."""


@pytest.mark.parametrize("role", ["nobody", "customer", "viewer", "admin"])
@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value))
async def test_who_may_do_what(stack: LocalStack, role: str, method: str, path: str) -> None:
    roles = {"viewer": ["viewer"], "admin": ["admin"]}.get(role, [])
    headers = {"Authorization": f"Bearer {stack.token('somebody', *roles)}"}
    address = path.format(
        order=uuid4(),
        service="order",
        parked_id=10**12,
        product_id=uuid4(),
        adjustment_id=new_message_id(),
        bulk_id=new_message_id(),
        note_id=new_message_id(),
    )
    async with httpx.AsyncClient(base_url=stack.url("ops"), trust_env=False, timeout=60) as client:
        answer = await client.request(
            method,
            address,
            json=NOTHING.get(method),
            headers={} if role == "nobody" else headers,
            params={"id": str(uuid4())},
        )
    allowed = role == "admin" or (role == "viewer" and method == "GET")
    expected = {200, 202, 404} if allowed else {401} if role == "nobody" else {403}
    assert answer.status_code in expected, answer.text


async def test_its_database_roles_reach_no_other_database(stack: LocalStack) -> None:
    own = stack.environment_of("ops")["DATABASE_URL"]
    assert "//ops_runtime:" in own
    for dsn in (own, stack.postgres["ops"]):
        for database in ("orders", "inventory", "payment", "gateway", "postgres"):
            address = f"{dsn.rpartition('/')[0]}/{database}"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await asyncpg.connect(address)
