"""`ops refunds`: refunds that Stripe refused for good, and what staff decide about them."""

from typing import Annotated

import typer

from services.ops.bulk import Action
from services.ops.cli.bulk import have_done
from services.ops.cli.printing import Json, client_of, moment, money, print_json, print_table

refunds = typer.Typer(
    no_args_is_help=True, help="Refunds that Stripe refused for good: they need a decision."
)

Order = Annotated[str, typer.Argument(help="An order's id.")]
Reason = Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)]


@refunds.command("list")
def list_refused(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 100,
    as_json: Json = False,
) -> None:
    """Orders that need a decision, the longest waiting first."""
    found = client_of(context).get("/v1/refunds/refused", limit=limit)
    if as_json:
        print_json(found)
        return
    print_table(
        ("order", "status", "payment", "refused", "since (UTC)", "why"),
        (
            (
                *(row["order_id"], row["status"], row["payment_status"]),
                *(money(row["refused_amount"], row["currency"]), moment(row["refused_since"])),
                row["refused_refund"],
            )
            for row in found
        ),
        empty="no refund needs a decision",
    )


@refunds.command()
def retry(
    context: typer.Context,
    orders: Annotated[list[str], typer.Argument(help="Ids of orders.")],
    *,
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Ask Stripe again for refunds that it refused. Exits with 1 unless all were taken.

    What Stripe answers shows on the order: `orders show`.
    """
    have_done(client_of(context), Action.RETRY_REFUND, orders, reason=reason, as_json=as_json)


@refunds.command()
def settle(
    context: typer.Context,
    order: Order,
    *,
    amount: Annotated[
        int,
        typer.Option(
            min=0,
            help="What was given back, in minor units; 0: nothing is owed.",
            show_default=False,
        ),
    ],
    restock: Annotated[
        bool | None,
        typer.Option(
            help="Whether the goods go back on sale; without, what has not been shipped.",
            show_default=False,
        ),
    ] = None,
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Note that a refused refund was settled outside Stripe, e.g. by bank transfer.

    Stripe is not asked for that amount any more. Exits with 1 when the order service refuses.
    """
    have_done(
        client_of(context),
        Action.SETTLE_REFUND,
        [order],
        reason=reason,
        restock=restock,
        amount=amount,
        as_json=as_json,
    )
