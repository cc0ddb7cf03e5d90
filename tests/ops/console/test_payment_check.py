"""Having Stripe asked in the console: on the page of an order that has a payment."""

import json
from typing import Any
from uuid import UUID, uuid4

from contracts.order import PaymentView
from contracts.payment import CheckPayment
from tests.ops.conftest import Watch
from tests.ops.console.conftest import Somebody, updated
from tests.ops.console.test_sagas import new_id

PAYMENT = PaymentView(
    payment_intent_id="pi_1", client_secret=None, status="requires_payment_method"
)


async def sent(watch: Watch) -> list[tuple[str, dict[str, Any]]]:
    """The ids and payloads of what was asked."""
    rows = await watch.owner.fetch("SELECT messages FROM outbox")
    found = [message for row in rows for message in json.loads(row["messages"])]
    return [(each[0], each[-1]) for each in found if CheckPayment.wire_type in each]


async def an_order(watch: Watch, payment: PaymentView | None = PAYMENT) -> UUID:
    order_id = uuid4()
    await watch.hears(updated(order_id).model_copy(update={"payment": payment}))
    return order_id


async def test_who_asks_gives_a_reason_and_sees_the_order_again(
    watch: Watch, operator: Somebody
) -> None:
    order_id = await an_order(watch)
    page = await operator.see(f"/orders/{order_id}")
    fields = {"csrf": page.csrf, "id": new_id(page), "reason": " a receipt was shown "}
    taken = await operator.post(f"/orders/{order_id}/payment-check", **fields)
    assert taken.status == 303
    assert taken.answer.headers["location"] == f"/console/orders/{order_id}"
    ((message_id, asked),) = await sent(watch)
    assert message_id == fields["id"]
    assert asked == {
        "order_id": str(order_id),
        "requested_by": "thabo",
        "reason": "a receipt was shown",
    }


async def test_a_form_that_is_not_ours_or_says_no_reason_asks_nothing(
    watch: Watch, operator: Somebody
) -> None:
    order_id = await an_order(watch)
    page = await operator.see(f"/orders/{order_id}")
    address = f"/orders/{order_id}/payment-check"
    for reason in ("", "  ", "x" * 501):
        again = await operator.post(address, csrf=page.csrf, id=new_id(page), reason=reason)
        assert again.status == 422
        assert "Say why" in again.text
    assert (await operator.post(address, csrf="", id=new_id(page), reason="x")).status == 403
    assert (await operator.post(address, csrf=page.csrf, id="x", reason="x")).status == 400
    assert await sent(watch) == []


async def test_it_is_offered_where_there_is_a_payment_to_those_who_may(
    watch: Watch, viewer: Somebody
) -> None:
    seen = await viewer.see(f"/orders/{await an_order(watch)}")
    assert "Ask Stripe" not in seen.text


async def test_without_a_payment_there_is_nothing_to_ask(watch: Watch, operator: Somebody) -> None:
    order_id = await an_order(watch, payment=None)
    seen = await operator.see(f"/orders/{order_id}")
    assert "Ask Stripe" not in seen.text
    assert "Ask Stripe" in (await operator.see(f"/orders/{await an_order(watch)}")).text
