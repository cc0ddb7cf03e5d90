"""Events: one for every change, kept in the same transaction, owed to every endpoint."""

import orjson

from deploy.local.stripe_standin.errors import Json, invalid, missing
from deploy.local.stripe_standin.faults import Kind
from deploy.local.stripe_standin.forms import array, boolean, read, text
from deploy.local.stripe_standin.lists import PAGING, Row, window
from deploy.local.stripe_standin.session import API_VERSION, Session

# Every type that the stand-in emits; `charge.*` in a list call is read against them.
TYPES = (
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
    "charge.failed",
    "charge.pending",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.created",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "refund.created",
    "refund.failed",
    "refund.updated",
)
_MAX_TYPES = 20


def emit(session: Session, type_: str, obj: Json, previous: Json | None = None) -> None:
    """Record what happened to an object, as it is now, and owe it to the endpoints.

    `previous` holds the former values of the fields that changed.
    """
    data: Json = {"object": obj}
    if previous:
        data["previous_attributes"] = previous
    event = {
        "id": session.new_id("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": session.now,
        "data": data,
        "livemode": False,
        "request": {
            "id": session.cause.request_id,
            "idempotency_key": session.cause.idempotency_key,
        },
        "type": type_,
    }
    seq = session.db.execute(
        "INSERT INTO events (id, type, created, body) VALUES (?, ?, ?, ?)",
        (event["id"], type_, event["created"], orjson.dumps(event).decode()),
    ).lastrowid
    assert seq is not None  # noqa: S101  an INSERT has one
    _owe(session, seq, type_)
    session.emitted = True


def _owe(session: Session, event: int, type_: str) -> None:
    """A delivery for every endpoint that wants the type, with the faults that strike it."""
    for endpoint in subscribers(session, type_):
        struck = session.faults.strike(type_)
        state = "due"
        if Kind.WEBHOOK_DROPPED in struck:
            state = "dropped"
        elif Kind.WEBHOOK_HELD in struck:
            state = "held"
        due = session.time + sum(struck.values())
        copies = 2 if Kind.WEBHOOK_DOUBLED in struck and state != "dropped" else 1
        session.db.executemany(
            "INSERT INTO deliveries (event, endpoint, state, due, copy) VALUES (?, ?, ?, ?, ?)",
            [(event, endpoint, state, due, copy) for copy in range(copies)],
        )


def subscribers(session: Session, type_: str) -> list[str]:
    """The ids of the enabled webhook endpoints that want a type."""
    rows = session.db.execute("SELECT body FROM objects WHERE kind = 'webhook_endpoint'")
    return [
        endpoint["id"]
        for endpoint in (orjson.loads(body) for (body,) in rows.fetchall())
        if endpoint["status"] == "enabled" and {"*", type_} & set(endpoint["enabled_events"])
    ]


def render(session: Session, body: str) -> Json:
    """An event as the API and webhooks show it: with the number of endpoints still owed it."""
    event: Json = orjson.loads(body)
    event["pending_webhooks"] = session.db.execute(
        """
        SELECT count(*) FROM deliveries
        WHERE event = (SELECT seq FROM events WHERE id = ?) AND copy = 0
        """,
        (event["id"],),
    ).fetchone()[0]
    return event


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/events/{id}"""
    read(params, {})
    row = session.db.execute("SELECT body FROM events WHERE id = ?", (id_,)).fetchone()
    if not row:
        raise missing("event", id_, "id")
    return render(session, row[0])


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/events, by `type` (which may end in `.*`), `types` and `delivery_success`."""
    given = read(params, {**PAGING, "type": text, "types": array, "delivery_success": boolean})
    part = window(session.db, "events", "event", given)
    # From the few deliveries that are owed to their events, or from the events to none owed.
    source, owed = "events", ""
    if given.get("delivery_success") is False:
        source = "(SELECT DISTINCT event FROM deliveries WHERE copy = 0) CROSS JOIN events"
        owed = " AND seq = event"
    elif given.get("delivery_success"):
        owed = " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = events.seq AND copy = 0)"
    select = f"SELECT created, events.seq, body FROM {source} WHERE TRUE{owed}"  # noqa: S608
    rows: list[Row] = []
    for type_ in _asked_types(given):
        of_type = "" if type_ is None else " AND type = ?"
        arguments = part.arguments if type_ is None else [type_, *part.arguments]
        rows += session.db.execute(f"{select}{of_type}{part.tail}", arguments)
    return part.answer("/v1/events", rows, lambda body: render(session, body))


def _asked_types(given: Json) -> list[str] | list[None]:
    """The types to look for, one indexed query each; [None] when all are wanted."""
    if "type" in given and "types" in given:
        raise invalid("You may only specify one of these parameters: type, types.")
    if "types" in given:
        asked: list[str] = given["types"]
        if len(asked) > _MAX_TYPES:
            raise invalid(f"You may pass at most {_MAX_TYPES} types.", param="types")
        if "*" in "".join(asked):
            raise invalid("types cannot hold wildcards; use type", param="types")
        return sorted(set(asked))
    if "type" not in given or given["type"] == "*":
        return [None]
    pattern: str = given["type"]
    if pattern.endswith(".*"):
        return [type_ for type_ in TYPES if type_.startswith(pattern[:-1])]
    return [pattern]
