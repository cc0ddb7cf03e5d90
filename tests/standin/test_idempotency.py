"""One idempotency key, one effect, one answer."""

import asyncio
from pathlib import Path

import pytest
import stripe

from tests.standin.process import StandinProcess, running

ORDER: dict[str, str] = {"amount": "12000", "currency": "zar", "metadata[order_id]": "order-idem"}


async def _create(standin: StandinProcess, key: str, **changes: str) -> stripe.PaymentIntent:
    return await standin.intents.create_async(
        {"amount": 12000, "currency": "zar", "metadata": {"order_id": key, **changes}},
        {"idempotency_key": key},
    )


async def test_a_repeated_call_gets_the_first_answer(standin: StandinProcess) -> None:
    first = await _create(standin, "key-repeat")
    second = await _create(standin, "key-repeat")

    assert first.id == second.id
    assert "Idempotent-Replayed" not in first.last_response.headers  # type: ignore[union-attr]
    headers = second.last_response.headers  # type: ignore[union-attr]
    assert headers["Idempotent-Replayed"] == "true"
    assert headers["Original-Request"] == first.last_response.request_id  # type: ignore[union-attr]
    assert len((await standin.control("GET", "/ledger?order_id=key-repeat"))["data"]) == 1


async def test_a_key_belongs_to_its_parameters(standin: StandinProcess) -> None:
    await _create(standin, "key-mismatch")

    with pytest.raises(stripe.IdempotencyError, match="same parameters they were first used with"):
        await _create(standin, "key-mismatch", note="another")


async def test_a_key_whose_call_still_runs_is_in_use(standin: StandinProcess) -> None:
    await standin.fault("delay", operation="create_payment_intent", delay_ms=300, count=1)
    first = asyncio.create_task(_create(standin, "key-in-use"))
    await asyncio.sleep(0.1)

    status, answer = await standin.call(
        "POST", "/v1/payment_intents", data=ORDER, headers={"Idempotency-Key": "key-in-use"}
    )

    assert (status, answer["error"]["code"]) == (409, "idempotency_key_in_use")
    assert (await first).status == "requires_payment_method"


async def test_a_decline_is_repeated_too(standin: StandinProcess) -> None:
    intent = await standin.open("order-declined-once")
    declined = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as error:
            await standin.intents.confirm_async(
                intent.id,
                {"payment_method": "pm_card_chargeDeclined"},
                {"idempotency_key": "key-decline"},
            )
        declined.append(error.value.json_body)

    assert declined[0] == declined[1]
    charges = await standin.client.v1.charges.list_async({"payment_intent": intent.id})
    assert len(charges.data) == 1


async def test_a_call_that_failed_validation_may_be_corrected_under_its_key(
    standin: StandinProcess,
) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await standin.intents.create_async(
            {"amount": 0, "currency": "zar"}, {"idempotency_key": "key-corrected"}
        )

    assert (await _create(standin, "key-corrected")).amount == 12000


async def test_concurrent_calls_under_one_key_make_one_intent(standin: StandinProcess) -> None:
    answers = await asyncio.gather(
        *(_create(standin, "key-race") for _ in range(20)), return_exceptions=True
    )

    made = {answer.id for answer in answers if isinstance(answer, stripe.PaymentIntent)}
    refused = [answer for answer in answers if isinstance(answer, stripe.StripeError)]
    assert len(made) == 1
    assert all(error.http_status == 409 for error in refused)
    assert len((await standin.control("GET", "/ledger?order_id=key-race"))["data"]) == 1


async def test_keys_expire_and_can_be_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path / "db", STANDIN_IDEMPOTENCY_TTL="1") as standin:
        first = await _create(standin, "key")
        await asyncio.sleep(1.1)
        second = await _create(standin, "key")
        forgotten = await standin.control("POST", "/idempotency_keys/forget")
        third = await _create(standin, "key")

        assert len({first.id, second.id, third.id}) == 3
        assert forgotten == {"forgotten": 1}
