"""`ops stripe`: what Stripe told, and having it asked."""

import time
from typing import Annotated, Any, Final
from uuid import UUID

import typer

from contracts.message import new_message_id
from services.ops.cli.client import Client, repeatable
from services.ops.cli.orders import LOOK_EVERY, Order
from services.ops.cli.printing import Json, client_of, console, moment, print_json, print_table

stripe = typer.Typer(no_args_is_help=True, help="What Stripe told, and what came of it.")

WAIT_SECONDS: Final = 10.0
"""For the payment service to say where the payment stands."""


@stripe.command()
def events(context: typer.Context, order: Order, as_json: Json = False) -> None:
    """The events of one order, the oldest first: how each came, and what it changed.

    They are kept as long as the messages of a trace.
    """
    found = client_of(context).get(f"/v1/orders/{order}/stripe-events")
    if as_json:
        print_json(found)
        return
    print_table(
        ("time (UTC)", "event", "type", "came by", "changed the payment"),
        (
            (
                *(moment(row["at"]), row["event_id"], row["event_type"], row["came_by"]),
                row["changed"],
            )
            for row in found
        ),
        empty="no event of Stripe was heard of this order",
    )


@stripe.command()
def reconcile(
    context: typer.Context,
    order: Order,
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)],
    check_id: Annotated[
        UUID | None, typer.Option("--id", help="Of one that was sent before: it is not sent twice.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Have Stripe asked about one order's payment, which is then settled by the answer.

    Nobody need do this: webhooks, Stripe's list of events and open payments are seen to anyway.
    """
    client = client_of(context)
    check_id = check_id or new_message_id()
    path = f"/v1/orders/{order}/payment-checks/{check_id}"
    with repeatable(check_id, "it may be asked"):
        asked = client.put(path, {"reason": reason})
    asked["stands"] = _stands(client, asked["order_id"], str(check_id))
    if as_json:
        print_json(asked)
        return
    out = console()
    for row in asked["stands"]:
        out.print(f"stands   {row['type']}  {row['summary']}", soft_wrap=True)
    if not asked["stands"]:
        out.print(f"the payment service has not answered within {WAIT_SECONDS:.0f} s; it will")
    out.print("Stripe is asked; what its answer changes is in")
    out.print(f"  ops orders trace {asked['order_id']} --follow")


def _stands(client: Client, order_id: str, check_id: str) -> list[dict[str, Any]]:
    """What the payment service said to the command, once it did."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        entries = client.get(f"/v1/orders/{order_id}/trace")
        said = [entry for entry in entries if entry["causation_id"] == check_id]
        if said or time.monotonic() > until:
            return said
        time.sleep(LOOK_EVERY)
