"""`ops orders`."""

import time
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from contracts.message import new_message_id
from contracts.order import OrderStatus
from services.ops.cli.client import repeatable
from services.ops.cli.printing import (
    Json,
    Row,
    cell,
    client_of,
    clock,
    console,
    letter,
    moment,
    money,
    print_json,
    print_json_lines,
    print_table,
)

orders = typer.Typer(no_args_is_help=True, help="Orders, and what they went through.")

Order = Annotated[str, typer.Argument(help="An order's id, or its PaymentIntent's.")]
LOOK_EVERY = 1.0
"""Seconds between looks of `--follow`."""


@orders.command("list")
def list_orders(
    context: typer.Context,
    status: Annotated[OrderStatus | None, typer.Option(help="Only these.")] = None,
    customer: Annotated[str | None, typer.Option(help="Only this customer's.")] = None,
    before: Annotated[str | None, typer.Option(help="The last id of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    as_json: Json = False,
) -> None:
    """The newest first."""
    found = client_of(context).get(
        "/v1/orders",
        status=status.value if status else None,
        customer_id=customer,
        before=before,
        limit=limit,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("order", "status", "payment", "total", "saga", "updated (UTC)"),
        (
            (
                *(row["order_id"], row["status"], row["payment_status"]),
                *(money(row["total"], row["currency"]), row["saga_state"]),
                moment(row["updated_at"]),
            )
            for row in found
        ),
        empty="no such orders",
    )


@orders.command()
def show(context: typer.Context, order: Order, as_json: Json = False) -> None:
    """Its state, its audit, and what of it is parked."""
    found = client_of(context).get(f"/v1/orders/{order}")
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(f"order      {found['order_id']}   of {cell(found['customer_id'])}")
    out.print(f"status     {found['status']}, {found['payment_status']}")
    out.print(
        f"money      {money(found['total'], found['currency'])}, "
        f"{found['amount_refunded'] or 0} refunded, {found['payment_intent_id'] or 'no intent'}"
    )
    if found["amount_lost"]:
        out.print(f"lost       {money(found['amount_lost'], found['currency'])}, by a dispute")
    if found["amount_settled"] is not None:
        out.print(f"settled    {money(found['amount_settled'], found['currency'])} outside Stripe")
    if found["refused_refund"]:
        refused = money(found["refused_amount"], found["currency"])
        out.print(
            f"decision   needed: Stripe refused to refund {refused} "
            f"since {moment(found['refused_since'])}"
        )
        out.print(f"           {found['refused_refund']}", markup=False)
        out.print("           `ops refunds retry` or `ops refunds settle`")
    out.print(f"saga       {found['saga_state']} since {moment(found['saga_since'])}")
    if found["stuck_reason"]:
        out.print(f"stuck      {found['stuck_reason']}")
    if found["waits_for"]:
        out.print(f"waits for  {found['waits_for']}")
        out.print(f"rounds     {found['rounds']}, next try {moment(found['next_try_at'])}")
    print_table(
        ("time (UTC)", "of", "version", "from", "to", "action", "by"),
        (
            (
                *(moment(row["happened_at"]), row["topic"].removeprefix("audit.")),
                *(row["version"], row["old_status"], row["new_status"], row["action"]),
                row["changed_by"],
            )
            for row in found["audit"]
        ),
        empty="no audit records yet",
    )
    for row in found["notes"]:
        out.print(f"note       {moment(row['written_at'])} {cell(row['written_by'])}: ", end="")
        out.print(row["text"], markup=False)
    for row in found["parked"]:
        out.print(f"{row['state']:<10} {letter(row)} {row['message_type']}: {cell(row['reason'])}")


@orders.command()
def note(
    context: typer.Context,
    order: Order,
    text: Annotated[str, typer.Argument(help="For staff; no personal data of customers.")],
    note_id: Annotated[
        UUID | None, typer.Option("--id", help="Of one that was sent before: it is not kept twice.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a note on an order, with your name. It cannot be changed or taken back."""
    note_id = note_id or new_message_id()
    with repeatable(note_id, "it may be kept"):
        kept = client_of(context).put(f"/v1/orders/{order}/notes/{note_id}", {"text": text})
    if as_json:
        print_json(kept)
    else:
        console().print(f"noted on {kept['order_id']} at {moment(kept['written_at'])}")


@orders.command()
def trace(
    context: typer.Context,
    order: Order,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Every message of an order on one time axis, each with the message that caused it."""
    client = client_of(context)
    seen = Seen()
    try:
        while True:
            fresh = seen.fresh(client.get(f"/v1/orders/{order}/trace"))
            if as_json and follow:
                print_json_lines(fresh)
            elif as_json:
                print_json(fresh)
            elif fresh:
                _print_trace(fresh, seen, head=len(fresh) == len(seen.numbers))
            if not follow:
                return
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        return


class Seen:
    """The messages shown so far: each has a number, by which its effects name it."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def fresh(self, entries: list[Row]) -> list[Row]:
        """Those that were not there before; they have numbers from now on."""
        fresh = [entry for entry in entries if _name(entry) not in self.numbers]
        for entry in fresh:
            self.numbers[_name(entry)] = len(self.numbers) + 1
        return fresh

    def cause(self, entry: Row) -> str:
        """The number of the message that led to this one."""
        cause = entry["causation_id"]
        if cause is None:
            return ""
        number = self.numbers.get(cause)
        return f"#{number}" if number else f"{cause[:8]}..."


def _name(entry: Row) -> Any:
    return entry["message_id"] or f"{entry['topic']}/{entry['partition']}/{entry['offset']}"


def _print_trace(entries: list[Row], seen: Seen, *, head: bool) -> None:
    table = Table(show_header=head, box=None, padding=(0, 1))
    table.add_column("#", justify="right", width=4)
    table.add_column("time (UTC)", width=12)
    table.add_column("cause", width=6)
    table.add_column("message", width=36)
    table.add_column("by", width=10)
    table.add_column("topic/partition/offset", width=26)
    table.add_column("what")
    for entry in entries:
        where = entry["topic"]
        if entry["offset"] is not None:
            where += f"/{entry['partition']}/{entry['offset']}"
        table.add_row(
            *(str(seen.numbers[_name(entry)]), clock(entry["sent_at"]), seen.cause(entry)),
            *(cell(entry["type"]), cell(entry["source"]), where, cell(entry["summary"])),
        )
    console().print(table)
