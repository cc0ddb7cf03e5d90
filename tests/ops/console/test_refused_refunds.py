"""Refused refunds in the console: the reason, and the two ways out."""

from uuid import UUID, uuid4

from contracts.message import new_message_id
from tests.messages import outgoing
from tests.ops.conftest import Watch
from tests.ops.console.conftest import Seen, Somebody, updated
from tests.ops.test_refused_refunds import REASON, undecided


def ids(seen: Seen) -> list[str]:
    return [attrs["value"] or "" for _, attrs in seen.elements if attrs.get("name") == "id"]


async def refused_order(watch: Watch) -> UUID:
    order_id = uuid4()
    await watch.hears(
        updated(order_id, status="cancelled", payment="paid"),
        undecided(order_id, refused_amount=12000, currency="zar"),
    )
    return order_id


async def bulks_of(watch: Watch) -> list[tuple[object, ...]]:
    rows = await watch.owner.fetch(
        "SELECT action, requested_by, reason, amount, restock FROM bulks"
    )
    return [tuple(row) for row in rows]


async def test_the_reason_of_stripe_shows_wherever_the_order_does(
    watch: Watch, viewer: Somebody
) -> None:
    order_id = await refused_order(watch)
    for path in ("/refunds", f"/refunds/{order_id}", f"/orders/{order_id}"):
        seen = await viewer.see(path)
        assert REASON in seen.text, path
        assert "R120.00" in seen.text, path
    assert "Needs a decision" in (await viewer.see(f"/orders/{order_id}")).text
    overview = await viewer.see("/")
    assert "Refused refunds 1" in overview.text
    actions = [
        attrs["action"]
        for tag, attrs in (await viewer.see(f"/refunds/{order_id}")).elements
        if tag == "form"
    ]
    assert actions == ["/console/sign-out"]


async def test_settling_outside_is_asked_once_and_says_what_came_of_it(
    watch: Watch, admin: Somebody
) -> None:
    order_id = await refused_order(watch)
    page = await admin.see(f"/refunds/{order_id}")
    settle = f"/refunds/{order_id}/settle"
    fields = {
        "csrf": page.csrf,
        "id": ids(page)[1],
        "amount": "100.50",
        "restock": "no",
        "reason": "bank transfer",
    }
    sent = await admin.post(settle, **fields)
    assert sent.status == 303
    assert (await admin.post(settle, **fields)).status == 303
    assert await bulks_of(watch) == [("settle_refund", "naledi", "bank transfer", 10050, False)]
    where = sent.answer.headers["location"].removeprefix("/console")
    assert "no answer yet" in (await admin.see(where)).text
    command = await watch.owner.fetchval("SELECT command_id FROM bulk_orders")
    settled = undecided(
        order_id,
        3,
        action="order.settle-refund.v1",
        refused_refund=None,
        refused_amount=None,
        amount_settled=10050,
    )
    await watch.hears(outgoing(settled)._replace(causation_id=str(command)))
    seen = await admin.see(where)
    assert "The refund is settled outside Stripe." in seen.text
    assert "No decision is needed" in seen.text
    assert "Settled outside Stripe" in (await admin.see(f"/orders/{order_id}")).text


async def test_trying_again_is_asked_with_a_reason(watch: Watch, admin: Somebody) -> None:
    order_id = await refused_order(watch)
    page = await admin.see(f"/refunds/{order_id}")
    retry = f"/refunds/{order_id}/retry"
    seen = await admin.post(retry, csrf=page.csrf, id=ids(page)[0], reason="")
    assert seen.status == 422
    assert "Say why" in seen.text
    assert await bulks_of(watch) == []
    sent = await admin.post(retry, csrf=page.csrf, id=ids(page)[0], reason="the dispute was won")
    assert sent.status == 303
    assert await bulks_of(watch) == [("retry_refund", "naledi", "the dispute was won", None, None)]


async def test_an_amount_that_is_none_or_too_much_is_asked_for_again(
    watch: Watch, admin: Somebody
) -> None:
    order_id = await refused_order(watch)
    page = await admin.see(f"/refunds/{order_id}")
    for amount in ("", "x", "120.01", "-1"):
        seen = await admin.post(
            f"/refunds/{order_id}/settle",
            csrf=page.csrf,
            id=ids(page)[1],
            amount=amount,
            restock="",
            reason="bank transfer",
        )
        assert seen.status == 422
        assert seen.marked == ["amount"]
        assert "Write an amount from 0.00 to R120.00" in seen.text
    assert await bulks_of(watch) == []


async def test_only_admins_decide(watch: Watch, operator: Somebody) -> None:
    order_id = await refused_order(watch)
    page = await operator.see(f"/refunds/{order_id}")
    for what in ("retry", "settle"):
        seen = await operator.post(
            f"/refunds/{order_id}/{what}",
            csrf=page.csrf,
            id=str(new_message_id()),
            amount="1.00",
            restock="",
            reason="x",
        )
        assert seen.status == 403
    assert await bulks_of(watch) == []
