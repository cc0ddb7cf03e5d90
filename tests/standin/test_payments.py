"""Payments from the first call to the money: what the SDK gets, and which events follow."""

from pathlib import Path

import pytest
import stripe

from tests.standin.process import StandinProcess, running
from tests.standin.receiver import Receiver

DECLINES = [
    ("pm_card_chargeDeclined", "card_declined", "generic_decline", "Your card was declined."),
    (
        "pm_card_chargeDeclinedInsufficientFunds",
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card", "Your card has expired."),
    (
        "pm_card_chargeDeclinedIncorrectCvc",
        "incorrect_cvc",
        "incorrect_cvc",
        "Your card's security code is incorrect.",
    ),
    (
        "pm_card_chargeDeclinedProcessingError",
        "processing_error",
        "processing_error",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
]


async def test_an_intent_is_created_then_confirmed_and_succeeds(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.open("order-7")
    assert (intent.status, intent.amount_received) == ("requires_payment_method", 0)
    assert intent.client_secret
    assert intent.client_secret.startswith(f"{intent.id}_secret_")

    paid = await standin.intents.confirm_async(
        intent.id, {"payment_method": "pm_card_mastercard", "expand": ["latest_charge"]}
    )

    charge = paid.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (paid.status, paid.amount_received) == ("succeeded", 12000)
    assert (charge.captured, charge.metadata["order_id"]) == (True, "order-7")
    assert charge.payment_method_details
    assert charge.payment_method_details.card
    assert charge.payment_method_details.card.brand == "mastercard"
    await hooks.gets(
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded", intent=intent.id
    )
    succeeded = next(event for event in hooks.events if event.type == "payment_intent.succeeded")
    assert succeeded.api_version == "2026-10-28.endive"
    assert succeeded.data.object["metadata"]["order_id"] == "order-7"
    assert succeeded.request
    assert succeeded.request.id
    assert succeeded.request.id.startswith("req_")


@pytest.mark.parametrize(("method", "code", "decline_code", "message"), DECLINES)
async def test_a_declined_card_is_402_and_the_customer_may_try_another(
    standin: StandinProcess, method: str, code: str, decline_code: str, message: str
) -> None:
    intent = await standin.open()

    with pytest.raises(stripe.CardError) as declined:
        await standin.intents.confirm_async(intent.id, {"payment_method": method})

    error = declined.value.error
    assert declined.value.http_status == 402
    assert error
    assert (error.code, error.decline_code, error.message) == (code, decline_code, message)
    assert error.payment_intent
    assert error.payment_intent.id == intent.id
    after = await standin.intents.retrieve_async(intent.id)
    assert after.status == "requires_payment_method"
    assert after.last_payment_error
    assert after.last_payment_error.message == message
    again = await standin.intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_a_decline_is_told_by_webhook_too(standin: StandinProcess, hooks: Receiver) -> None:
    with pytest.raises(stripe.CardError):
        await standin.paid("pm_card_chargeDeclined")

    await hooks.gets("payment_intent.created", "charge.failed", "payment_intent.payment_failed")
    failed = next(e for e in hooks.events if e.type == "payment_intent.payment_failed")
    intent = failed.data.object
    assert intent["last_payment_error"]["message"] == "Your card was declined."
    assert intent["status"] == "requires_payment_method"


@pytest.mark.parametrize(
    "method", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"]
)
async def test_a_customer_passes_authentication(standin: StandinProcess, method: str) -> None:
    intent = await standin.paid(method)
    assert intent.status == "requires_action"
    assert intent.next_action
    assert intent.next_action.type == "use_stripe_sdk"

    await standin.control("POST", f"/payment_intents/{intent.id}/authenticate", {"success": True})

    assert (await standin.intents.retrieve_async(intent.id)).status == "succeeded"


async def test_a_customer_fails_authentication(standin: StandinProcess, hooks: Receiver) -> None:
    intent = await standin.paid("pm_card_authenticationRequired")

    await standin.control("POST", f"/payment_intents/{intent.id}/authenticate", {"success": False})

    after = await standin.intents.retrieve_async(intent.id)
    assert after.status == "requires_payment_method"
    assert after.last_payment_error
    assert after.last_payment_error.code == "payment_intent_authentication_failure"
    await hooks.gets("payment_intent.requires_action", "payment_intent.payment_failed")


async def test_a_bank_debit_is_processing_and_succeeds_later(
    standin: StandinProcess, hooks: Receiver
) -> None:
    intent = await standin.paid("pm_usBankAccount_success")
    assert intent.status == "processing"
    with pytest.raises(stripe.InvalidRequestError, match="has a status of processing"):
        await standin.intents.cancel_async(intent.id)

    await standin.becomes(intent.id, "succeeded")

    await hooks.gets("payment_intent.processing", "charge.pending", "charge.succeeded")
    charges = await standin.client.v1.charges.list_async({"payment_intent": intent.id})
    assert [charge.status for charge in charges.data] == ["succeeded"]


async def test_a_bank_debit_fails_later(standin: StandinProcess) -> None:
    intent = await standin.paid("pm_usBankAccount_insufficientFunds")

    after = await standin.becomes(intent.id, "requires_payment_method")

    assert after.last_payment_error
    assert after.last_payment_error.code == "insufficient_funds"


async def test_a_debit_that_never_settles_can_be_cancelled(standin: StandinProcess) -> None:
    intent = await standin.paid("pm_usBankAccount_processing")

    assert (await standin.intents.cancel_async(intent.id)).status == "canceled"


async def test_a_cancelled_intent_cannot_be_paid(standin: StandinProcess, hooks: Receiver) -> None:
    intent = await standin.open()

    canceled = await standin.intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})

    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await standin.intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"
    await hooks.gets("payment_intent.canceled", intent=intent.id)


async def test_cancelling_a_paid_intent_is_refused_with_the_intent(standin: StandinProcess) -> None:
    intent = await standin.paid()

    with pytest.raises(stripe.InvalidRequestError) as refused:
        await standin.intents.cancel_async(intent.id)

    error = refused.value.error
    assert error
    assert error.code == "payment_intent_unexpected_state"
    assert error.payment_intent
    assert error.payment_intent.status == "succeeded"
    assert str(error.message).startswith(
        "You cannot cancel this PaymentIntent because it has a status of succeeded."
    )


async def test_money_is_held_and_captured_in_part(standin: StandinProcess) -> None:
    intent = await standin.paid(capture_method="manual")
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 12000)
    with pytest.raises(stripe.InvalidRequestError, match="greater than the capturable amount"):
        await standin.intents.capture_async(intent.id, {"amount_to_capture": 12001})

    captured = await standin.intents.capture_async(intent.id, {"amount_to_capture": 5000})

    assert (captured.status, captured.amount_received) == ("succeeded", 5000)


async def test_an_update_changes_what_is_still_open(standin: StandinProcess) -> None:
    intent = await standin.open("order-1")

    changed = await standin.intents.update_async(
        intent.id, {"amount": 500, "metadata": {"order_id": "order-2", "note": "x"}}
    )

    assert (changed.amount, changed.metadata["order_id"]) == (500, "order-2")
    await standin.intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="amount could not be updated"):
        await standin.intents.update_async(intent.id, {"amount": 600})


async def test_an_intent_is_found_by_its_order(standin: StandinProcess) -> None:
    intent = await standin.open("order-found-by-search")

    found = await standin.intents.search_async(
        {"query": "metadata['order_id']:'order-found-by-search'"}
    )

    assert [one.id for one in found.data] == [intent.id]


async def test_search_lags_behind_and_the_list_does_not(tmp_path: Path) -> None:
    async with running(tmp_path / "stripe.sqlite3", STANDIN_SEARCH_DELAY="3600") as standin:
        intent = await standin.open("order-not-indexed")
        found = await standin.intents.search_async(
            {"query": "metadata['order_id']:'order-not-indexed'"}
        )
        listed = await standin.intents.list_async({"limit": 1})
    assert (found.data, [one.id for one in listed.data]) == ([], [intent.id])
