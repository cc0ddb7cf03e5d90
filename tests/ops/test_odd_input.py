"""Odd values in every address, query, body and form of ops: refused or not found, and never a 500.

What can be said is read from the application, one odd value at a time: beside another one, a value
might never be looked at.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from tests.ops.console.conftest import Somebody, console, visitor
from tests.ops.test_access import BODY, FORM, send, served, whose

__all__ = ["console", "visitor"]

ODD: Final = {
    "nothing": "",
    "NUL": "a\x00b",
    "too large for the database": "9" * 25,
    "negative": "-1",
    "no number": "NaN",
    "the end of time": "9999-12-31T23:59:59",
    "long": "x" * 3000,
}


class Door(NamedTuple):
    """A route, and the names of its query."""

    method: str
    path: str
    queries: tuple[str, ...]


def doors(app: FastAPI) -> Iterator[Door]:
    for path, methods, route in served(app):
        if dependant := getattr(route, "dependant", None):
            queries = tuple(field.alias for field in dependant.query_params)
            yield from (Door(method, path, queries) for method in methods)


def asked_oddly(door: Door, odd: str) -> Iterator[dict[str, Any]]:
    """The address, query and body of each request that is odd in one place."""
    parts, given = whose(), FORM if door.path.startswith("/console") else BODY
    plain = {"address": door.path.format(**parts), "query": {}, "given": given}
    for name in parts:
        if f"{{{name}}}" in door.path and odd:
            yield plain | {"address": door.path.format(**parts | {name: quote(odd, safe="")})}
    for name in door.queries:
        yield plain | {"query": {name: odd}}
    if door.method != "GET":
        for name, value in given.items():
            yield plain | {"given": given | {name: [odd] if isinstance(value, list) else odd}}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_nothing_odd_is_our_fault(visitor: Somebody, console: FastAPI, odd: str) -> None:
    faults, asked = [], 0
    for door in doors(console):
        for request in asked_oddly(door, odd):
            answer = await send(visitor.client, "admin", door.method, **request)
            asked += 1
            if answer.status_code >= 500 and answer.status_code != 503:  # there is no Kafka here
                faults.append((door.method, request, answer.text[:200]))
    assert not faults
    assert asked > 100
