"""`ops bulk`: one action on many orders, and what came of each."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import Progress, TaskID

from contracts.message import new_message_id
from contracts.order import OrderStatus
from services.ops.bulk import Action
from services.ops.cli.client import Client, Exit, Failed
from services.ops.cli.printing import Json, Row, client_of, console, print_json, print_table

AT_ONCE = 200
"""Orders that are asked for before the outcomes of the last ones are known: shipping 10,000 parcels
must not keep customers waiting."""
PATIENCE = 60.0
"""Seconds after which an answer is not waited for any longer."""


def bulk(
    context: typer.Context,
    action: Annotated[Action, typer.Argument(help="The new status, or cancel, refund, retry.")],
    orders: Annotated[list[str] | None, typer.Argument(help="Ids of orders.")] = None,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Option("--from", help="A file with an id per line; - is standard input."),
    ] = None,
    status: Annotated[
        OrderStatus | None, typer.Option(help="All orders that have this status.")
    ] = None,
    restock: Annotated[
        bool | None,
        typer.Option(help="Of a refund; without, what has not been shipped.", show_default=False),
    ] = None,
    amount: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of a refund of one order: a part, in minor units.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Move many orders along, cancel or refund them, and say what became of each.

    Orders are named, listed in a file, or chosen by --status. Each is taken or refused by itself;
    exits with 1 unless all were taken.
    """
    client = client_of(context)
    wanted = list(_wanted(client, orders or [], file, status))
    if not wanted:
        raise Failed(Exit.USAGE, "no order is named", "name orders, or use --from or --status")
    have_done(
        client, action, wanted, reason=reason, restock=restock, amount=amount, as_json=as_json
    )


def have_done(
    client: Client,
    action: Action,
    orders: Sequence[str],
    *,
    reason: str,
    restock: bool | None = None,
    amount: int | None = None,
    as_json: bool,
) -> None:
    """Ask for it, in parts, and print what came of each; exits with 1 unless all were taken."""
    wanted = list(dict.fromkeys(map(_id, orders)))
    outcomes: list[Row] = []
    with Progress(console=console(stderr=True), disable=as_json, transient=True) as progress:
        task = progress.add_task(action.value, total=len(wanted))
        for start in range(0, len(wanted), AT_ONCE):
            body = {
                "action": action.value,
                "order_ids": wanted[start : start + AT_ONCE],
                "restock": restock,
                "amount": amount,
                "reason": reason,
            }
            outcomes += _ask(client, body, progress, task, start)
    _tell(outcomes, as_json=as_json)
    if any(row["outcome"] in ("refused", "unknown") for row in outcomes):
        raise typer.Exit(Exit.WRONG)


def _wanted(
    client: Client, named: Sequence[str], file: Path | None, status: OrderStatus | None
) -> Iterator[str]:
    lines: list[str] = []
    if file is not None:
        try:
            lines = (sys.stdin if str(file) == "-" else file.open(encoding="utf-8")).readlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Failed(
                Exit.USAGE, f"{file} cannot be read: {error}", "name a file with an id per line"
            ) from None
    for name in (*named, *(line.strip() for line in lines)):
        if name:
            yield name
    before = None
    while status and (
        page := client.get("/v1/orders", status=status.value, before=before, limit=500)
    ):
        yield from (row["order_id"] for row in page)
        before = page[-1]["order_id"]


def _id(name: str) -> str:
    try:
        return str(UUID(name))
    except ValueError:
        raise Failed(
            Exit.USAGE, f"{name!r} is no order's id", "write ids as `orders list` shows them"
        ) from None


def _ask(client: Client, body: Row, progress: Progress, task: TaskID, done: int) -> list[Row]:
    """Ask, and wait for the answers: some seconds, or a minute when the order service is away."""
    path = f"/v1/bulks/{new_message_id()}"
    asked = client.put(path, body)["orders"]
    deadline = time.monotonic() + PATIENCE
    while True:
        open_ones = sum(row["outcome"] == "waiting" for row in asked)
        progress.update(task, completed=done + len(asked) - open_ones)
        if not open_ones or time.monotonic() > deadline:
            return [_final(row) for row in asked]
        time.sleep(0.3)
        asked = client.get(path)["orders"]


def _final(row: Row) -> Row:
    if row["outcome"] != "waiting":
        return row
    why = "no answer yet: does the order service run, and is none of its messages parked?"
    return {**row, "outcome": "unknown", "problem": why}


def _tell(outcomes: Sequence[Row], *, as_json: bool) -> None:
    if as_json:
        print_json(outcomes)
        return
    print_table(
        ("order", "outcome", "status", "payment", "why"),
        (
            (row["order_id"], row["outcome"], row["status"], row["payment_status"], row["problem"])
            for row in outcomes
        ),
        empty="",
    )
    counts = Counter(row["outcome"] for row in outcomes)
    console().print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
