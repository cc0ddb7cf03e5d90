"""`ops stripe`: what Stripe told."""

import typer

from services.ops.cli.orders import Order
from services.ops.cli.printing import Json, client_of, moment, print_json, print_table

stripe = typer.Typer(no_args_is_help=True, help="What Stripe told, and what came of it.")


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
