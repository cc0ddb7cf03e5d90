"""Looks into a service's parked messages, and asks for their replay.

    DATABASE_URL=postgresql://... python -m services.kit.parked list
    ... show 17     ... replay 17 18     ... replay --all     ... discard 17 --reason "a test"

Replaying is done by the running service, in the order of the key; `list` shows what came of it.
The ops service does the same by command, for all services: this tool is for when it is away.
"""

import asyncio
import base64
import getpass
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import asyncpg
import orjson
import typer
from rich.console import Console
from rich.table import Table

from contracts.topics import CUSTOMER_CONTACTS
from services.kit.db import Connection

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
T = TypeVar("T")
Database = Annotated[
    str, typer.Option(envvar="DATABASE_URL", help="the service's own database", show_default=False)
]
OPEN = ("parked", "waiting", "replay")
PERSONAL = {CUSTOMER_CONTACTS.name}


@app.command("list")
def list_messages(database_url: Database, everything: bool = False) -> None:
    """What is parked, the oldest first; --everything shows what was closed, too."""
    rows = _ask(
        database_url,
        lambda db: db.fetch(
            """
            SELECT id, state, message_type, key, source_topic, attempts, parked_at, reason
              FROM parked_messages
             WHERE $1 OR state = ANY($2)
             ORDER BY id
            """,
            everything,
            OPEN,
        ),
    )
    table = Table("id", "state", "message", "key", "topic", "attempts", "since", "reason")
    for row in rows:
        table.add_row(
            *(str(row["id"]), row["state"], row["message_type"] or "?", row["key"] or "-"),
            *(row["source_topic"], str(row["attempts"]), f"{row['parked_at']:%Y-%m-%d %H:%M:%S}"),
            row["reason"],
        )
    Console().print(table if rows else "nothing is parked")


@app.command()
def show(
    message_id: int,
    database_url: Database,
    personal: Annotated[bool, typer.Option(help="show personal data, too")] = False,
) -> None:
    """All that is known of one message. A payload with personal data is masked unless asked for."""
    row = _ask(
        database_url,
        lambda db: db.fetchrow("SELECT * FROM parked_messages WHERE id = $1", message_id),
    )
    if row is None:
        raise typer.BadParameter(f"there is no parked message {message_id}; try `list`")
    for name, value in row.items():
        if name == "headers":
            for header, encoded in orjson.loads(value).items():
                text = "null" if encoded is None else _readable(base64.b64decode(encoded))
                print(f"{'header':<18}{header}: {text}")
        elif name == "payload" and value and row["source_topic"] in PERSONAL and not personal:
            print(f"{name:<18}{len(value)} bytes of personal data; --personal shows them")
        else:
            print(f"{name:<18}{_readable(value) if isinstance(value, bytes) else value}")


@app.command()
def replay(
    database_url: Database,
    message_ids: Annotated[list[int] | None, typer.Argument()] = None,
    every: Annotated[bool, typer.Option("--all", help="everything that is parked")] = False,
) -> None:
    """Ask the running service to handle messages again. What waits behind them follows."""
    if not message_ids and not every:
        raise typer.BadParameter("say which: ids, or --all")
    asked = _ask(
        database_url,
        lambda db: db.fetch(
            """
            UPDATE parked_messages
               SET state = 'replay', operation_id = NULL, asked_by = $3, ask_reason = NULL
             WHERE state = 'parked' AND ($1 OR id = ANY($2))
            RETURNING id
            """,
            every,
            message_ids or [],
            getpass.getuser(),
        ),
    )
    print(f"{len(asked)} to be replayed; `list` shows what comes of it")
    _complain_about(set(message_ids or []) - {row["id"] for row in asked})


@app.command()
def discard(
    message_ids: list[int],
    database_url: Database,
    reason: Annotated[str, typer.Option(help="why nobody needs them", show_default=False)],
) -> None:
    """Close messages without handling them. What waits behind them is handled next."""
    closed = _ask(
        database_url,
        lambda db: db.fetch(
            """
            UPDATE parked_messages
               SET state = 'discarded', operation_id = NULL,
                   closed_at = now(), closed_by = $2, close_reason = $3
             WHERE id = ANY($1) AND state = ANY($4)
            RETURNING id
            """,
            message_ids,
            getpass.getuser(),
            reason,
            OPEN,
        ),
    )
    print(f"{len(closed)} discarded")
    _complain_about(set(message_ids) - {row["id"] for row in closed})


def _complain_about(missing: set[int]) -> None:
    if missing:
        names = ", ".join(map(str, sorted(missing)))
        raise typer.BadParameter(f"not in a state for that: {names}; see `list --everything`")


def _readable(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _ask(database_url: str, question: Callable[[Connection], Awaitable[T]]) -> T:
    async def ask() -> T:
        db = await asyncpg.connect(database_url)
        try:
            return await question(db)
        finally:
            await db.close()

    return asyncio.run(ask())


if __name__ == "__main__":
    app()
