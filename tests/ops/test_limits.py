"""What the API takes: nothing without a reason, and nothing larger than a person would ask for."""

from typing import Any
from uuid import UUID

import pytest

from contracts.inventory import MAX_STOCK
from contracts.message import new_message_id
from deploy.local.tokens import token
from services.ops.app import MAX_BODY_BYTES
from services.ops.routes.bulks import MOST_ORDERS
from services.ops.routes.dead_letters import AT_ONCE
from tests.ops.conftest import Watch
from tests.ops.console.conftest import SECRET, Somebody, console, updated, visitor
from tests.ops.test_observing import letter

__all__ = ["console", "visitor"]

ORDER, PRODUCT = UUID(int=1), UUID(int=2)
LETTER = {"service": "payment", "parked_id": 17}
BULK: dict[str, Any] = {"action": "refund", "order_ids": [str(ORDER)], "reason": "a scratch"}
ADJUSTMENT: dict[str, Any] = {"product_id": str(PRODUCT), "delta": 5, "reason": "found"}
LETTERS: dict[str, Any] = {"letters": [LETTER], "reason": "mended"}
NO_REASONS = ("", "  ", "x" * 501, "a\0b", None, 7)


async def told(visitor: Somebody, address: str, body: dict[str, Any]) -> int:
    """What an admin is answered who asks for this."""
    answer = await visitor.client.request(
        "POST" if "dead-letters" in address else "PUT",
        address.format(order=ORDER, id=new_message_id()),
        json=body,
        headers={"Authorization": f"Bearer {token(SECRET, 'naledi', 'admin')}"},
    )
    return answer.status_code


async def asked_for(watch: Watch) -> list[int]:
    tables = ("bulks", "stock_adjustments", "operations", "order_notes", "outbox")
    return [await watch.owner.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("/v1/bulks/{id}", BULK),
        ("/v1/stock/adjustments/{id}", ADJUSTMENT),
        ("/v1/orders/{order}/payment-checks/{id}", {"reason": "a receipt was shown"}),
        ("/v1/dead-letters/replay", LETTERS),
        ("/v1/dead-letters/discard", LETTERS),
    ],
)
async def test_whatever_is_asked_for_has_a_reason(
    watch: Watch, visitor: Somebody, address: str, good: dict[str, Any]
) -> None:
    await watch.hears(updated(ORDER, status="confirmed", payment="paid"), letter(17))
    await watch.owner.execute("UPDATE orders SET payment_intent_id = 'pi_17'")
    without = {name: value for name, value in good.items() if name != "reason"}
    bodies = [without, *(good | {"reason": each} for each in NO_REASONS)]
    assert [each for each in bodies if await told(visitor, address, each) != 422] == []
    assert await asked_for(watch) == [0] * 5
    assert await told(visitor, address, good) == 202


async def test_what_cannot_be_meant_is_not_asked_for(watch: Watch, visitor: Somebody) -> None:
    other = new_message_id()
    await watch.hears(*(updated(each, payment="paid") for each in (ORDER, other)), letter(17))
    bulk, adjustment = "/v1/bulks/{id}", "/v1/stock/adjustments/{id}"
    replay, note = "/v1/dead-letters/replay", "/v1/orders/{order}/notes/{id}"
    both = {"order_ids": [str(ORDER), str(other)], "amount": 5}
    cases: list[tuple[str, dict[str, Any]]] = [
        *((bulk, BULK | {"amount": each}) for each in (0, -1, 1.5, "5", True)),
        *((bulk, BULK | each) for each in (both, {"action": "cancel", "amount": 5})),
        *((bulk, BULK | {"order_ids": [str(ORDER)] * each}) for each in (0, MOST_ORDERS + 1)),
        *((adjustment, ADJUSTMENT | {"delta": each}) for each in (0, 1.5, "5", True)),
        *((adjustment, ADJUSTMENT | {"delta": s * (MAX_STOCK + 1)}) for s in (1, -1)),
        *((replay, LETTERS | {"letters": [LETTER] * each}) for each in (0, AT_ONCE + 1)),
        *((replay, LETTERS | {"letters": [LETTER | {"parked_id": each}]}) for each in (0, 2**63)),
        (replay, LETTERS | {"letters": [LETTER | {"service": "shop"}]}),
        *((note, {"text": each}) for each in ("", "  ", "x" * 2001, "a\0b")),
    ]
    wrong = [
        (address, str(body)[:200])
        for address, body in cases
        if await told(visitor, address, body) != 422
    ]
    assert wrong == []
    assert await asked_for(watch) == [0] * 5


async def test_a_body_that_is_too_large_is_not_read(visitor: Somebody) -> None:
    body = BULK | {"reason": "x" * MAX_BODY_BYTES}
    assert await told(visitor, "/v1/bulks/{id}", body) == 413


@pytest.mark.parametrize(
    "address",
    [
        *(f"/v1/{many}?limit=501" for many in ("orders", "sagas", "sagas/stuck", "bulks", "audit")),
        *("/v1/dead-letters?limit=501", "/v1/stock?limit=501", f"/v1/stock?search={'x' * 201}"),
        f"/v1/stock/{PRODUCT}?days=367",
        f"/v1/operations?{'&'.join([f'id={ORDER}'] * (AT_ONCE + 1))}",
    ],
)
async def test_nobody_reads_everything_at_once(visitor: Somebody, address: str) -> None:
    headers = {"Authorization": f"Bearer {token(SECRET, 'vusi', 'viewer')}"}
    assert (await visitor.client.get(address, headers=headers)).status_code == 422
