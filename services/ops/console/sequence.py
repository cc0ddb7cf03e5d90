"""An order's messages as a sequence diagram: who told whom what, when, and because of what. Pure.

Places are in pixels of a drawing that `diagram.html` writes as SVG; colours are the style sheet's.
Audit records are no messages between services. Those that tell a change of status, of stock, or a
call of Stripe are drawn on their lane; the others are in the table only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from services.ops.console.words import clock, lapse, name_of, span
from services.ops.rules import said

Row = Mapping[str, Any]

ALWAYS: Final = ("gateway", "order", "inventory", "payment", "stripe")
SOMETIMES: Final = ("notification", "ops")
MOST_STEPS: Final = 250
"""Steps that are drawn; a longer story is read in the table."""

GUTTER, EDGE, LANE, HEAD, STEP = 164, 68, 232, 52, 34
_GAP = timedelta(seconds=5)
"""A pause that is shown as one."""

_IN_SIGHT = 18
"""Steps that fit a screen with the names of the lanes above them."""

_READER: Final = {
    "order.commands": "order",
    "order.events": "gateway",
    "inventory.commands": "inventory",
    "inventory.events": "order",
    "inventory.replies": "gateway",
    "payment.commands": "payment",
    "payment.events": "order",
    "stripe.webhooks": "payment",
}
"""Who acts on what travels there."""


class Lane(NamedTuple):
    name: str
    x: int


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the diagram: an arrow, or a note where `start` and `end` are one place."""

    number: int
    """Of the message in the table."""
    cause: int | None
    y: int
    start: int
    end: int
    label: str
    tone: str
    """command, event, stripe, person, bad or note"""
    at: str
    after: str
    """Since the first message."""
    told: str

    @property
    def middle(self) -> int:
        return (self.start + self.end) // 2

    @property
    def head(self) -> str:
        """The arrow's head as a path."""
        back = -8 if self.end > self.start else 8
        return f"M{self.end} {self.y}l{back} -4v8z"

    @property
    def half(self) -> int:
        """Half the width that a note needs."""
        return max(len(self.label) * 7 // 2 + 12, 30)


class Pause(NamedTuple):
    y: int
    text: str


@dataclass(frozen=True, slots=True)
class Diagram:
    lanes: list[Lane]
    steps: list[Step]
    pauses: list[Pause]
    width: int
    height: int
    foot: int | None
    """Where the lanes are named again, if the beginning is far away."""
    more: int
    """Steps that were left out at the end."""


class _Drawn(NamedTuple):
    source: str
    target: str
    label: str
    tone: str


def numbers(trace: Iterable[Row]) -> dict[Any, int]:
    """Each message's number, by its id: its place in the trace, from 1."""
    found: dict[Any, int] = {}
    for number, entry in enumerate(trace, 1):
        found.setdefault(entry["message_id"], number)
    found.pop(None, None)
    return found


def draw(trace: Sequence[Row], audit: Iterable[Row]) -> Diagram:
    """The diagram of a trace, oldest message first; `audit` has the records of the same order."""
    recorded = {row["message_id"]: row for row in audit}
    known = numbers(trace)
    shown = [
        (number, entry, drawn)
        for number, entry in enumerate(trace, 1)
        if (drawn := _drawn(entry, recorded.get(entry["message_id"])))
    ]
    more = max(len(shown) - MOST_STEPS, 0)
    shown = shown[:MOST_STEPS]
    used = {lane for _, _, drawn in shown for lane in (drawn.source, drawn.target)}
    names = [*ALWAYS, *(name for name in SOMETIMES if name in used)]
    lanes = [Lane(name, GUTTER + EDGE + LANE * place) for place, name in enumerate(names)]
    places = {lane.name: lane.x for lane in lanes}
    steps, pauses = [], []
    y, before = HEAD, None
    for number, entry, drawn in shown:
        at: datetime = entry["sent_at"]
        if before is not None and at - before > _GAP:
            y += STEP
            pauses.append(Pause(y, f"{span(at - before)} pass"))
        y, before = y + STEP, at
        steps.append(
            Step(
                number=number,
                cause=known.get(entry["causation_id"]) if entry["causation_id"] else None,
                y=y,
                start=places[drawn.source],
                end=places[drawn.target],
                label=drawn.label,
                tone=drawn.tone,
                at=clock(at),
                after=lapse(at - shown[0][1]["sent_at"]),
                told=entry["summary"],
            )
        )
    foot = y + STEP if len(steps) > _IN_SIGHT else None
    height = y + STEP + (HEAD if foot else 0)
    return Diagram(lanes, steps, pauses, lanes[-1].x + EDGE, height, foot, more)


def _drawn(entry: Row, record: Row | None) -> _Drawn | None:
    topic = str(entry["topic"])
    name = name_of(entry["type"])
    owner, _, kind = topic.rpartition(".")
    if owner == "audit":
        return _recorded(kind, record) if record else None
    if kind == "operations":
        return _Drawn("ops", _lane(owner), name, "person")
    if kind == "dead-letters":
        return _Drawn(
            _lane(owner), _lane(owner), said(str(entry["summary"]), "state") or name, "bad"
        )
    reader = _READER.get(topic)
    if reader is None:
        return None
    source = "stripe" if topic == "stripe.webhooks" else _lane(entry["source"])
    if source == reader:
        return _Drawn(source, source, name, "note")
    tone = {"commands": "command", "webhooks": "stripe"}.get(kind, "event")
    return _Drawn(source, reader, _label(topic, name, entry), tone)


def _label(topic: str, name: str, entry: Row) -> str:
    """The name of a message; of news of Stripe or of an order what they say, as all are alike."""
    if topic == "stripe.webhooks":
        return said(str(entry["summary"]), "event_type") or name
    if name == "order-updated" and (status := said(str(entry["summary"]), "status")):
        return f"{name}: {status}"
    return name


def _recorded(of: str, record: Row) -> _Drawn | None:
    """What the audit tells that no message does."""
    if of == "payment":
        if record["changed_by"] != "stripe:call":
            return None
        return _Drawn("payment", "stripe", record["action"].replace("_", "-"), "stripe")
    if of == "inventory":
        return _Drawn("inventory", "inventory", record["action"], "note")
    before, after = record["old_status"], record["new_status"]
    if before == after:
        return None
    return _Drawn("order", "order", f"{before} → {after}" if before else after, "note")


def _lane(name: str | None) -> str:
    return name if name in (*ALWAYS, *SOMETIMES) else "order"
