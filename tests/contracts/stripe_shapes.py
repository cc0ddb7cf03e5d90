"""Every event type of Stripe's SDK, and samples of every object that an event can hold.

The samples are made from the annotations of the SDK's classes, for the fields that are read here:
each alternative of an annotation (text, number, null, an object, an expanded reference) occurs in
a sample. So a new version of the SDK brings its new types and shapes along.
"""

from collections.abc import Iterator
from importlib import import_module
from inspect import isclass
from typing import Any, ForwardRef, Literal, Union, get_args, get_origin

from stripe import Event
from stripe._object_classes import OBJECT_CLASSES
from stripe._stripe_object import StripeObject as SdkObject

from contracts.stripe import StripeObject

Json = dict[str, Any]
Shape = tuple[tuple[str, str], ...]
"""Which fields an object has, and of which JSON type each is."""

EVENT_TYPES: tuple[str, ...] = get_args(Event.__annotations__["type"])
READ: tuple[str, ...] = tuple(name for name in StripeObject.model_fields if name != "object")


def snapshot(event_type: str, found: Any) -> Json:
    """An event of API v1, as a webhook brings it."""
    return {
        "id": f"evt_{event_type}",
        "object": "event",
        "type": event_type,
        "api_version": "2026-10-28.endive",
        "created": 1790000000,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "data": {"object": found},
    }


def thin(event_type: str, related: Json | None) -> Json:
    """A thin event of API v2, as an event destination brings it."""
    return {
        "id": f"evt_test_{event_type}",
        "object": "v2.core.event",
        "type": event_type,
        "created": "2026-11-30T10:20:30.123Z",
        "livemode": False,
        "context": None,
        "reason": {"type": "request", "request": {"id": "req_1", "idempotency_key": "k"}},
        "related_object": related,
    }


def objects() -> Iterator[tuple[str, Json]]:
    """(name of the object, sample), several of each name where its fields have alternatives."""
    for name, (module, class_name) in OBJECT_CLASSES.items():
        annotations = getattr(import_module(module), class_name).__annotations__
        alternatives = {
            field: list(_alternatives(annotations[field])) for field in READ if field in annotations
        }
        for number in range(max(map(len, alternatives.values()), default=1)):
            fields = {field: each[number % len(each)] for field, each in alternatives.items()}
            yield name, {"object": name, **fields}


def shape(sample: Json) -> Shape:
    """What distinguishes samples for a reader."""
    return tuple(sorted((f, type(value).__name__) for f, value in sample.items() if f != "object"))


def _alternatives(annotation: Any) -> Iterator[Any]:
    """A JSON value for each type that the annotation allows."""
    if annotation is type(None):
        yield None
    elif annotation is str or get_origin(annotation) is Literal:
        yield "text"
    elif annotation is int:
        yield 12000
    elif isinstance(annotation, ForwardRef):  # a reference that was expanded
        yield {"id": "expanded_1", "object": "another"}
    elif get_origin(annotation) is Union:
        for each in get_args(annotation):
            yield from _alternatives(each)
    elif isclass(annotation) and issubclass(annotation, SdkObject):
        yield {"value": 12000, "currency": "zar"}
    elif isclass(get_origin(annotation)):  # metadata
        yield {"order_id": "0190a6f2-7c3e-7b1a-9f57-3f1f6a1c2b11"}
    else:
        raise AssertionError(f"the SDK has a type that is not covered here: {annotation}")
