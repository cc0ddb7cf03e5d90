"""What is shown of messages, and what is not."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.order import CancelOrder
from contracts.payment import PaymentFailed, PaymentIntentCreated
from contracts.registry import MESSAGES
from services.ops.rules import SUMMARY_LENGTH, WAITS_FOR, cause_of, mask, summary
from services.order.deadlines import WAITS_FOR_ANSWER

GOLDEN = sorted((Path(__file__).parents[2] / "contracts" / "examples").rglob("*.json"))


def test_the_states_that_wait_are_those_of_the_saga() -> None:
    assert set(WAITS_FOR) == {state.value for state in WAITS_FOR_ANSWER}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_message_has_a_summary_without_secrets(path: Path) -> None:
    golden = json.loads(path.read_text())
    message = MESSAGES[golden["headers"]["ce_type"]].model_validate(golden["value"])
    told = summary(message)
    assert len(told) <= SUMMARY_LENGTH
    for personal in ("client_secret", "email", "postal_code", "customer_id"):
        assert personal not in told


def test_the_secret_of_an_intent_is_not_shown() -> None:
    told = summary(
        PaymentIntentCreated(
            order_id=uuid4(),
            payment_intent_id="pi_123",
            client_secret="pi_123_secret_456",
            intent_status="requires_payment_method",
        )
    )
    assert told == "intent_status requires_payment_method, payment_intent_id pi_123"


def test_what_people_write_is_shown_masked() -> None:
    told = summary(
        CancelOrder(
            order_id=uuid4(),
            requested_by="anna@example.com",
            reason="call me at +27 82 555 01 23 or anna.b@example.com",
        )
    )
    assert told == "reason 'call me at *** or ***', requested_by '***'"


def test_a_quoted_secret_is_masked_and_an_id_is_not() -> None:
    order_id = "0190a3b2-7c4d-7e8f-9a0b-123456789012"
    text = f"order {order_id}: key sk_test_abc, pi_1_secret_2, whsec_x"
    assert mask(text) == f"order {order_id}: key ***, ***, ***"


def test_what_is_alike_has_one_cause() -> None:
    reasons = {
        cause_of(f"there is no payment of order {uuid4()}: pi_{number} succeeded with {number}")
        for number in range(5)
    }
    assert reasons == {"there is no payment of order ...: ... succeeded with ..."}


def test_a_long_text_is_cut() -> None:
    failed = PaymentFailed(order_id=uuid4(), payment_intent_id=None, message="no " * 500)
    assert len(summary(failed)) == SUMMARY_LENGTH
