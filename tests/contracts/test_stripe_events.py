"""Every event of Stripe can be read, whatever its type and the shape of its object."""

import json
from typing import Any

import pytest
from pydantic import BaseModel
from stripe.events._event_classes import _V2_EVENT_CLASS_LOOKUP

from contracts.message import is_uuid7
from contracts.stripe import NotAnEvent, StripeEventReceived
from tests.contracts.stripe_shapes import EVENT_TYPES, Json, Shape, objects, shape, snapshot, thin

OBJECTS = list(objects())
SHAPES = {shape(sample): (name, sample) for name, sample in OBJECTS}


class OlderObject(BaseModel):
    """What the first release requires of the object; everything else is optional there."""

    id: str
    object: str
    status: str | None = None
    amount: int | None = None
    amount_received: int | None = None
    amount_refunded: int | None = None
    currency: str | None = None
    payment_intent: str | None = None
    charge: str | None = None
    reason: str | None = None
    failure_reason: str | None = None
    last_payment_error: dict[str, str | None] | None = None
    metadata: dict[str, str | None]


class OlderEvent(BaseModel):
    event_id: str
    event_type: str
    created: int
    livemode: bool
    api_version: str | None
    object: OlderObject


def read(event: Json) -> StripeEventReceived:
    """Read it as the gateway does, and its message as older and newer payment services do."""
    told = StripeEventReceived.from_event(json.loads(json.dumps(event)))
    payload = told.model_dump_json()
    assert StripeEventReceived.model_validate_json(payload) == told
    OlderEvent.model_validate_json(payload)
    assert told.key  # an empty subject is refused by every consumer
    assert is_uuid7(told.message_id)
    assert (told.event_id, told.event_type) == (event["id"], event["type"])
    return told


def test_stripes_list_is_read_from_the_sdk() -> None:
    assert len(EVENT_TYPES) > 250
    assert {"payment_intent.succeeded", "balance.available"} <= set(EVENT_TYPES)
    assert len(SHAPES) > 50


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_an_event_of_any_type_is_read_with_any_object(event_type: str) -> None:
    for name, sample in OBJECTS:
        assert read(snapshot(event_type, sample)).object.object == name


@pytest.mark.parametrize("seen", SHAPES, ids=lambda seen: SHAPES[seen][0])
def test_an_object_of_any_shape_is_read(seen: Shape) -> None:
    _name, sample = SHAPES[seen]
    told = read(snapshot("made.up", sample)).object
    # What has the type that is needed is kept, and only what has not is left out.
    for field, value in sample.items():
        if isinstance(value, str | int):
            assert getattr(told, field) == value
        elif field in {"amount", "amount_received", "amount_refunded"}:
            assert getattr(told, field) is None
    if "id" not in sample:
        assert told.id == ""


@pytest.mark.parametrize("event_type", _V2_EVENT_CLASS_LOOKUP)
def test_a_thin_event_of_any_type_is_read(event_type: str) -> None:
    about = {"id": "fa_1", "type": "v2.core.account", "url": "/v2/core/accounts/fa_1"}
    told = read(thin(event_type, about))
    assert (told.object.id, told.object.object) == ("fa_1", "v2.core.account")
    assert told.created == 1796034030
    assert told.key == "fa_1"


def test_a_thin_event_about_no_object_or_one_without_an_id() -> None:
    for related in (None, {"type": "balance", "url": "/v1/balance"}):
        told = read(thin("v2.core.event_destination.ping", related))
        assert told.key == told.event_id


@pytest.mark.parametrize(
    ("expanded", "wanted"),
    [("pi_1", "pi_1"), ({"id": "pi_1", "object": "payment_intent"}, "pi_1"), (None, None)],
)
def test_a_reference_is_read_whether_it_is_expanded_or_not(expanded: Any, wanted: Any) -> None:
    charge = {"id": "ch_1", "object": "charge", "payment_intent": expanded}
    assert read(snapshot("charge.refunded", charge)).object.intent_id == wanted


def test_an_intent_without_an_id_is_about_no_intent() -> None:
    """An empty id would be looked for, and stored, as if it were one."""
    told = read(snapshot("payment_intent.succeeded", {"object": "payment_intent"}))
    assert told.object.intent_id is None
    assert told.key == told.event_id


def test_text_that_cannot_be_kept_is_replaced_and_long_text_is_cut() -> None:
    error = {"message": "\x00\ud800" + "x" * 100_000, "code": "k" * 2000}
    sample: Json = {"id": "pi_1", "object": "payment_intent", "last_payment_error": error}
    event = snapshot(
        "payment_intent.payment_failed", sample | {"metadata": {"order_id": "o" * 500}}
    )
    told = StripeEventReceived.from_event(event)
    assert told.key == "pi_1"
    assert len(told.model_dump_json().encode()) < 5000
    assert told.object.last_payment_error is not None
    assert str(told.object.last_payment_error.message).startswith("\ufffd?x")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": None}, "it has no id or no type"),
        ({"id": ""}, "it has no id or no type"),
        ({"id": 7}, "it has no id or no type"),
        ({"type": None}, "it has no id or no type"),
        ({"type": "t" * 256}, "it has no id or no type"),
        ({"created": "soon"}, "it has no time of creation"),
        ({"created": None}, "it has no time of creation"),
        ({"created": True}, "it has no time of creation"),
        ({"created": -1}, "it has no time of creation"),
        ({"created": 1 << 62}, "it has no time of creation"),
        ({"object": "v2.core.event", "created": "soon"}, "it has no time of creation"),
        ({"data": None}, "it has no object"),
        ({"data": []}, "it has no object"),
        ({"data": {}}, "it has no object"),
        ({"data": {"object": None}}, "it has no object"),
        ({"data": {"object": "pi_1"}}, "it has no object"),
        ({"data": {"object": {}}}, "it has no object"),
        ({"data": {"object": {"object": 7}}}, "it has no object"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(change: Json, reason: str) -> None:
    intent = {"id": "pi_1", "object": "payment_intent"}
    with pytest.raises(NotAnEvent, match=reason):
        StripeEventReceived.from_event(snapshot("payment_intent.succeeded", intent) | change)
