"""What of a message may be shown, what parked messages have in common, who owes an answer. Pure."""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import Any, Final

from contracts.message import Message, Value

WAITS_FOR: Final = {
    "reserving": "inventory: StockReserved or StockRejected",
    "requesting_payment": "payment: PaymentIntentCreated",
    "cancelling_payment": "payment: PaymentCanceled or PaymentSucceeded",
    "withdrawing": "payment: PaymentCanceled or PaymentSucceeded",
    "returning_money": "payment: PaymentRefunded",
    "returning_late": "payment: PaymentRefunded",
    "restoring": "inventory: StockRestored",
    "restocking": "inventory: StockRestored",
    "refunding": "payment: PaymentRefunded",
    "refunding_only": "payment: PaymentRefunded",
}
"""The saga states in which another service owes an answer: which one, and what."""

OPEN_STATES: Final = ("awaiting_payment", "confirmed", "processing", "shipped", *WAITS_FOR)
"""The saga states in which somebody has something to do yet: a service, a customer, the shop."""

SUMMARY_LENGTH = 200

# Shown as they are: words, numbers and ids of our own and Stripe's.
_PLAIN: Final = (
    *("event_type", "event_id", "action", "command", "state", "status", "old_status", "new_status"),
    *("payment_status", "saga_state", "intent_status", "version", "amount", "total", "currency"),
    *("amount_received", "amount_refunded", "quantity", "payment_intent_id", "refund_id", "code"),
    *("id", "parked_id", "attempts", "restock", "rounds"),
    *("amount_lost", "amount_settled", "settled_outside", "refused_amount", "final"),
)
# Written by people, or by programs that quote what people wrote.
_FREE_TEXT: Final = (
    *("message", "reason", "stuck_reason", "problem", "refused_refund"),
    *("changed_by", "requested_by", "updated_by"),
)
_COUNTED: Final = ("lines", "items", "moves", "problems")
_NESTED: Final = ("object",)  # of a Stripe event

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PERSONAL = re.compile(
    rf"(?P<id>{_UUID})"
    r"|[^\s@,;:<>()]+@[^\s@,;:<>()]+"  # an e-mail address
    r"|\b(?:sk|rk|whsec)_\w+|\b\w+_secret_\w+"
    r"|\+?\d(?:[ -]?\d){8,}"  # a telephone or card number
)
_VARIABLE = re.compile(rf"{_UUID}|\b(?:pi|evt|ch|re|dp|du)_\w+|\d+")


def mask(text: str) -> str:
    """Text of people without addresses, telephone and card numbers, and secrets."""
    return _PERSONAL.sub(lambda found: found["id"] or "***", text)


def summary(message: Message) -> str:
    """A line about a message: listed fields only, so that a new field is not shown unseen."""
    return ", ".join(_parts(message))[:SUMMARY_LENGTH]


def said(text: str, field: str) -> str | None:
    """What a summary says of one field."""
    for part in text.split(", "):
        if part.startswith(f"{field} "):
            return part.removeprefix(f"{field} ")
    return None


def _parts(value: Value) -> Iterator[str]:
    kind = type(value)
    for name in _among(kind, _PLAIN):
        if (said := _simple(value, name)) is not None:
            yield f"{name} {said}"
    for name in _among(kind, _COUNTED):
        if many := getattr(value, name):
            yield f"{len(many)} {name}"
    for name in _among(kind, _NESTED):
        if isinstance(inner := getattr(value, name), Value):
            yield from _parts(inner)
    for name in _among(kind, _FREE_TEXT):
        if (said := _simple(value, name)) is not None:
            yield f"{name} {mask(said)!r}"


@cache
def _among(kind: type[Value], names: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that a message has. To ask each message for all of them took three fifths of the
    time of ops: pydantic makes an error for each that is not there."""
    return tuple(name for name in names if name in kind.model_fields)


def _simple(value: Value, name: str) -> str | None:
    found: Any = getattr(value, name)
    if found is None or found == "" or isinstance(found, list | tuple | dict | Value):
        return None
    return found.value if isinstance(found, StrEnum) else str(found)


def cause_of(reason: str) -> str:
    """The reason of a parked message without its ids and numbers."""
    return _VARIABLE.sub("...", mask(reason))[:SUMMARY_LENGTH]
