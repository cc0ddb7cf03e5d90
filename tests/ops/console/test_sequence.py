"""What the diagram draws of a trace."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.ops.console.sequence import MOST_STEPS, draw, numbers
from services.ops.console.words import age, lapse, money, name_of, span

DEAD = "inventory.dead-letters"
START = datetime(2026, 11, 24, 12, tzinfo=UTC)


def entry(topic: str, kind: str | None, source: str | None, **changes: Any) -> dict[str, Any]:
    told = {
        "topic": topic,
        "type": kind,
        "source": source,
        "message_id": uuid4(),
        "causation_id": None,
        "sent_at": START,
        "summary": "",
    }
    return told | changes


def test_an_arrow_goes_from_who_spoke_to_who_acts_on_it() -> None:
    trace = [
        entry("order.commands", "order.place-order.v1", "gateway"),
        entry("inventory.commands", "inventory.reserve-stock.v1", "order"),
        entry("inventory.events", "inventory.stock-reserved.v1", "inventory"),
        entry("payment.commands", "payment.request-payment.v1", "order"),
        entry("stripe.webhooks", "stripe.event-received.v1", "gateway"),
        entry("payment.operations", "operations.replay-parked.v1", "ops"),
    ]
    drawn = draw(trace, [])
    names = {lane.x: lane.name for lane in drawn.lanes}
    assert [(names[step.start], names[step.end], step.label) for step in drawn.steps] == [
        ("gateway", "order", "place-order"),
        ("order", "inventory", "reserve-stock"),
        ("inventory", "order", "stock-reserved"),
        ("order", "payment", "request-payment"),
        ("stripe", "payment", "event-received"),
        ("ops", "payment", "replay-parked"),
    ]


def test_a_step_names_its_number_in_the_table_and_that_of_its_cause() -> None:
    first = entry("order.commands", "order.place-order.v1", "gateway")
    unseen = entry("audit.order", "audit.order-changed.v1", "order")
    effect = entry(
        "inventory.commands", "inventory.reserve-stock.v1", "order",
        causation_id=first["message_id"], sent_at=START + timedelta(milliseconds=23),
    )  # fmt: skip
    trace = [first, unseen, effect]
    steps = draw(trace, []).steps
    assert [(step.number, step.cause, step.after) for step in steps] == [
        (1, None, "+0 ms"),
        (3, 1, "+23 ms"),
    ]
    assert numbers(trace)[effect["message_id"]] == 3


def test_audit_records_show_what_no_message_tells() -> None:
    def record(of: dict[str, Any], **told: Any) -> dict[str, Any]:
        empty = {"old_status": None, "new_status": None, "action": "x", "changed_by": "order"}
        return {"message_id": of["message_id"]} | empty | told

    order, same, stripe, stock = trace = [
        *(entry("audit.order", "audit.order-changed.v1", "order") for _ in range(2)),
        entry("audit.payment", "audit.payment-changed.v1", "payment"),
        entry("audit.inventory", "audit.inventory-changed.v1", "inventory"),
    ]
    drawn = draw(
        trace,
        [
            record(order, old_status="pending", new_status="confirmed"),
            record(same, old_status="pending", new_status="pending"),
            record(stripe, action="create_intent", changed_by="stripe:call"),
            record(stock, action="reserved"),
        ],
    )
    assert [step.label for step in drawn.steps] == [
        "pending → confirmed",
        "create-intent",
        "reserved",
    ]
    assert [step.start == step.end for step in drawn.steps] == [True, False, True]


def test_a_parked_message_is_seen_where_it_happened() -> None:
    told = "state parked, parked_id 1, attempts 3, reason 'no warehouse'"
    trace = [
        entry(
            "inventory.dead-letters", "dead-letters.message-parked.v1", "inventory", summary=told
        ),
        entry("inventory.dead-letters", None, None, summary="unreadable: no JSON"),
        entry("order.events", None, None, summary="unreadable: no JSON"),
    ]
    steps = draw(trace, []).steps
    assert [(step.label, step.tone) for step in steps[:2]] == [
        ("parked", "bad"),
        ("unreadable", "bad"),
    ]
    assert steps[2].label == "unreadable"


def test_a_long_pause_is_shown_and_a_long_story_is_cut() -> None:
    late = [
        entry(
            "order.commands", "order.cancel-order.v1", "gateway", sent_at=START + timedelta(hours=n)
        )
        for n in range(MOST_STEPS + 3)
    ]
    drawn = draw(late, [])
    assert drawn.more == 3
    assert len(drawn.steps) == MOST_STEPS
    assert drawn.pauses[0].text == "1 h pass"
    heights = [step.y for step in drawn.steps]
    assert heights == sorted(set(heights))
    assert heights[-1] < drawn.height


def test_a_trace_without_anything_is_empty_lanes() -> None:
    drawn = draw([], [])
    assert [lane.name for lane in drawn.lanes] == [
        *("gateway", "order", "inventory", "payment", "stripe")
    ]
    assert drawn.steps == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3700, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_span_has_the_two_largest_units(seconds: int, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said


def test_words() -> None:
    assert lapse(timedelta(milliseconds=1420)) == "+1.42 s"
    assert lapse(timedelta(minutes=2)) == "+2 min"
    assert age(START, START - timedelta(seconds=1)) == "0 s"  # clocks differ
    assert money(None, None) == "-"
    assert money(12000, "zar") == "R120.00"
    assert name_of("inventory.reserve-stock.v1") == "reserve-stock"
    assert name_of(None) == "unreadable"
