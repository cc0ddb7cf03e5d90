"""Tables for people, JSON for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from services.ops.cli.client import Client

Json = Annotated[bool, typer.Option("--json", help="JSON for programs instead of a table.")]
Row = Mapping[str, Any]

_WIDTH_OF_A_FILE = 200
"""Columns when nobody looks: a table in a file or a pipe is not to be cut at 80."""


def console(*, stderr: bool = False) -> Console:
    seen = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, highlight=False, width=None if seen else _WIDTH_OF_A_FILE)


def client_of(context: typer.Context) -> Client:
    """The client that the options before the command describe."""
    client: Client = context.obj
    return client


def print_json(value: Any) -> None:
    """One document."""
    print(json.dumps(value, indent=2))


def print_json_lines(values: Iterable[Any]) -> None:
    """One line each, for a stream that has no end."""
    for value in values:
        print(json.dumps(value), flush=True)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """A table, or a sentence where there is nothing to show."""
    table = Table(*heads)
    for row in rows:
        table.add_row(*map(cell, row))
    out = console()
    if table.row_count:
        out.print(table)
    else:
        out.print(empty)


def cell(value: Any) -> str:
    """Text that Rich does not take for markup."""
    return "-" if value is None else str(value).replace("[", r"\[")


def moment(value: str | None) -> str:
    """A time as the API writes it, to the millisecond, in UTC."""
    if value is None:
        return "-"
    return f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def clock(value: str) -> str:
    """The same without the day."""
    return moment(value)[11:]


def money(amount: int | None, currency: str | None) -> str:
    """Minor units, and of what."""
    return "-" if amount is None else f"{amount} {currency or ''}".rstrip()


def letter(row: Row) -> str:
    """How a parked message is named at the command line."""
    return f"{row['service']}/{row['parked_id']}"
