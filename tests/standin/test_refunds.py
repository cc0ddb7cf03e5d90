"""Refunds and disputes: money that goes back."""

import pytest
import stripe

from tests.standin.process import StandinProcess, eventually
from tests.standin.receiver import Receiver


async def test_partial_refunds_add_up_and_never_exceed_the_charge(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid(metadata={"order_id": "order-9"})

    await standin.refunds.create_async({"payment_intent": intent.id, "amount": 5000})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await standin.refunds.create_async({"payment_intent": intent.id, "amount": 7001})
    await standin.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await standin.refunds.create_async({"payment_intent": intent.id})

    assert refused.value.code == "charge_already_refunded"
    await hooks.until(lambda types: types.count("charge.refunded") == 2, "two refund events")
    refunded = {
        event.data.object["amount_refunded"]: event
        for event in hooks.events
        if event.type == "charge.refunded"
    }
    assert set(refunded) == {5000, 12000}
    assert refunded[5000].data.object["metadata"]["order_id"] == "order-9"
    previous = refunded[12000].data.previous_attributes
    assert previous
    assert previous.to_dict() == {"amount_refunded": 5000, "refunded": False}
    listed = await standin.refunds.list_async({"payment_intent": intent.id})
    assert sorted(refund.amount for refund in listed.data) == [5000, 7000]


async def test_an_unpaid_intent_has_nothing_to_refund(standin: StandinProcess) -> None:
    intent = await standin.open()

    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await standin.refunds.create_async({"payment_intent": intent.id})


async def test_a_pending_refund_arrives_later(standin: StandinProcess, hooks: Receiver) -> None:
    intent = await standin.paid("pm_card_pendingRefund")

    refund = await standin.refunds.create_async({"payment_intent": intent.id})

    assert refund.status == "pending"
    await hooks.gets("refund.created", "refund.updated", "charge.refund.updated")
    assert (await standin.refunds.retrieve_async(refund.id)).status == "succeeded"


async def test_a_failed_refund_gives_the_money_claim_back(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid("pm_card_refundFail")

    refund = await standin.refunds.create_async({"payment_intent": intent.id})

    assert refund.status == "succeeded"
    await hooks.gets("refund.failed", "refund.updated")
    charge = await standin.client.v1.charges.retrieve_async(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (0, False)


async def test_a_disputed_charge_is_won_with_evidence(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid("pm_card_createDispute")
    disputes = await standin.client.v1.disputes.list_async({"payment_intent": intent.id})
    (dispute,) = disputes.data
    assert (dispute.status, dispute.reason) == ("needs_response", "fraudulent")

    won = await standin.client.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True}
    )

    assert won.status == "won"
    await hooks.gets("charge.dispute.created", "charge.dispute.closed")


async def test_a_dispute_is_opened_by_control_and_accepted(standin: StandinProcess) -> None:
    intent = await standin.paid()

    opened = await standin.control(
        "POST", f"/payment_intents/{intent.id}/dispute", {"reason": "product_not_received"}
    )

    assert opened["reason"] == "product_not_received"
    closed = await standin.client.v1.disputes.close_async(opened["id"])
    assert closed.status == "lost"


@pytest.mark.parametrize(
    ("way", "refundable"),
    [
        (["needs_response"], False),
        (["needs_response", "under_review"], False),
        (["needs_response", "lost"], False),
        (["needs_response", "under_review", "won"], True),
        (["warning_needs_response"], True),
        (["warning_needs_response", "warning_under_review", "warning_closed"], True),
        (["warning_needs_response", "needs_response"], False),
    ],
)
async def test_a_disputed_charge_is_not_refunded_unless_the_dispute_was_won(
    standin: StandinProcess, way: list[str], refundable: bool
) -> None:
    intent = await standin.paid()
    first, *statuses = way
    dispute = await standin.control(
        "POST", f"/payment_intents/{intent.id}/dispute", {"inquiry": first.startswith("warning")}
    )
    for status in statuses:
        dispute = await standin.control("POST", f"/disputes/{dispute['id']}", {"status": status})
    assert (dispute["status"], dispute["is_charge_refundable"]) == (way[-1], refundable)

    if refundable:
        await standin.refunds.create_async({"payment_intent": intent.id})
    else:
        with pytest.raises(stripe.InvalidRequestError, match="charged back") as refused:
            await standin.refunds.create_async({"payment_intent": intent.id})
        assert refused.value.code == "charge_disputed"


async def test_a_dispute_emits_what_happens_to_the_money(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid()
    dispute = await standin.control("POST", f"/payment_intents/{intent.id}/dispute", {})
    await hooks.gets("charge.dispute.created", "charge.dispute.funds_withdrawn")
    for status in ("under_review", "won"):
        await standin.control("POST", f"/disputes/{dispute['id']}", {"status": status})
    await hooks.gets(
        "charge.dispute.updated", "charge.dispute.closed", "charge.dispute.funds_reinstated"
    )


async def test_a_refund_on_its_way_fails_when_its_charge_is_disputed(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid("pm_card_pendingRefund")
    refund = await standin.refunds.create_async({"payment_intent": intent.id})

    await standin.control("POST", f"/payment_intents/{intent.id}/dispute", {})

    await hooks.gets("refund.failed")
    failed = await standin.refunds.retrieve_async(refund.id)
    assert failed.failure_reason == "charge_for_pending_refund_disputed"


async def test_a_refund_is_refused_for_good_when_a_test_asks_for_it(
    standin: StandinProcess,
) -> None:
    intent = await standin.paid()
    await standin.control("POST", "/faults", {"kind": "not_refundable", "count": 1})
    for _ in range(2):  # the refusal is kept under the key
        with pytest.raises(stripe.InvalidRequestError) as refused:
            await standin.refunds.create_async(
                {"payment_intent": intent.id}, {"idempotency_key": f"no:{intent.id}"}
            )
        assert refused.value.code == "charge_not_refundable"
    await standin.refunds.create_async({"payment_intent": intent.id})


async def test_a_cancelled_intent_can_be_forced_to_succeed(standin: StandinProcess) -> None:
    intent = await standin.open("order-late")
    await standin.intents.cancel_async(intent.id)

    await standin.control("POST", f"/payment_intents/{intent.id}/succeed")
    await standin.refunds.create_async({"payment_intent": intent.id})

    async def settled() -> bool:
        (entry,) = (await standin.control("GET", "/ledger?order_id=order-late"))["data"]
        seen = (entry["status"], entry["successful_charges"], entry["amount_received"])
        return seen == ("succeeded", 1, 12000) and entry["amount_refunded"] == 12000

    await eventually(settled, "the late payment and its refund in the ledger")
