"""Lists as Stripe pages them: newest first, `limit`, `starting_after`, `ending_before`,
`created`. Every query walks an index from the cursor on, and reads one page."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from deploy.local.stripe_standin.errors import Json, invalid, missing
from deploy.local.stripe_standin.forms import Parser, integer, text
from deploy.local.stripe_standin.session import Session

# (created, seq, body)
Row = tuple[int, int, str]

_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_DEFAULT_LIMIT, _MAX_LIMIT = 10, 100


def created_range(name: str, value: Any) -> list[tuple[str, int]]:
    """`created=N` or `created[gte]=N` as SQL comparisons."""
    if isinstance(value, str):
        return [("=", integer(name, value))]
    unknown = set(value) - set(_COMPARISONS)
    if unknown:
        raise invalid(
            f"Received unknown parameter: {name}[{unknown.pop()}]",
            code="parameter_unknown",
            param=name,
        )
    return [(_COMPARISONS[key], integer(f"{name}[{key}]", bound)) for key, bound in value.items()]


def limit(name: str, value: Any) -> int:
    """The length of a page, 1 to 100."""
    number = integer(name, value)
    if not 1 <= number <= _MAX_LIMIT:
        bound = "greater than or equal to 1" if number < 1 else "less than or equal to 100"
        raise invalid(
            f"This value must be {bound} (it currently is '{number}').",
            code="parameter_invalid_integer",
            param=name,
        )
    return number


def parsed(body: str) -> Json:
    """A body as it was kept."""
    obj: Json = orjson.loads(body)
    return obj


PAGING: dict[str, Parser] = {
    "limit": limit,
    "starting_after": text,
    "ending_before": text,
    "created": created_range,
}


@dataclass(frozen=True)
class Window:
    """The part of a list that a caller asked for, as conditions on (created, seq)."""

    where: str
    arguments: list[int]
    limit: int
    backwards: bool

    @property
    def tail(self) -> str:
        """Order and length: one row more than the page shows whether there are more."""
        direction = "ASC" if self.backwards else "DESC"
        return f"{self.where} ORDER BY created {direction}, seq {direction} LIMIT {self.limit + 1}"

    def answer(self, url: str, rows: list[Row], render: Callable[[str], Json]) -> Json:
        """The list object, from the rows of one or several queries that ended in `tail`."""
        rows.sort(key=lambda row: row[:2], reverse=not self.backwards)
        page = rows[: self.limit]
        if self.backwards:
            page.reverse()
        return {
            "object": "list",
            "url": url,
            "has_more": len(rows) > self.limit,
            "data": [render(row[2]) for row in page],
        }


def window(db: sqlite3.Connection, table: str, kind: str, params: Json) -> Window:
    """The window that parsed `PAGING` parameters describe.

    Raises StripeError for a cursor that does not exist.
    """
    where, arguments = [], []
    for comparison, bound in params.get("created", []):
        where.append(f"created {comparison} ?")
        arguments.append(bound)
    backwards = "ending_before" in params
    cursor_name = "ending_before" if backwards else "starting_after"
    if cursor := params.get(cursor_name):
        # Only constants of this module and its callers go into the SQL text.
        found = db.execute(
            f"SELECT created, seq FROM {table} WHERE id = ?",  # noqa: S608
            (cursor,),
        ).fetchone()
        if not found:
            raise missing(kind, cursor, cursor_name)
        where.append(f"(created, seq) {'>' if backwards else '<'} (?, ?)")
        arguments += found
    conditions = "".join(f" AND {condition}" for condition in where)
    return Window(conditions, arguments, params.get("limit", _DEFAULT_LIMIT), backwards)


def objects(
    session: Session,
    kind: str,
    url: str,
    params: Json,
    filters: Sequence[str] = (),
    render: Callable[[str], Json] = parsed,
) -> Json:
    """A page of objects of one kind; `filters` are indexed columns named as their parameters."""
    part = window(session.db, "objects", kind, params)
    columns = {"payment_intent": "intent", "charge": "charge"}
    chosen = [name for name in filters if name in params]
    conditions = "".join(f" AND {columns[name]} = ?" for name in chosen)
    rows = session.db.execute(
        f"SELECT created, seq, body FROM objects WHERE kind = ?{conditions}{part.tail}",  # noqa: S608
        (kind, *(params[name] for name in chosen), *part.arguments),
    ).fetchall()
    return part.answer(url, rows, render)
