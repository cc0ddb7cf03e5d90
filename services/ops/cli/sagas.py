"""`ops sagas`: orders that wait for another service, and their next try."""

from collections.abc import Sequence
from typing import Annotated

import typer

from services.ops.bulk import Action
from services.ops.cli.bulk import have_done
from services.ops.cli.printing import Json, Row, client_of, moment, print_json, print_table
from services.ops.rules import WAITS_FOR

sagas = typer.Typer(no_args_is_help=True, help="Orders on their way.")

Limit = Annotated[int, typer.Option(min=1, max=500)]


@sagas.command("list")
def list_sagas(
    context: typer.Context,
    state: Annotated[
        list[str] | None, typer.Option(help="Only of this state; may be given more than once.")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Orders for which a service owes an answer, the longest waiting first."""
    if unknown := [each for each in state or () if each not in WAITS_FOR]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(WAITS_FOR)}")
    found = client_of(context).get("/v1/sagas", state=state, limit=limit)
    _print(found, as_json=as_json, empty="no order waits for an answer")


@sagas.command()
def stuck(
    context: typer.Context,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Waiting for at least so long.")
    ] = None,
    limit: Limit = 100,
    as_json: Json = False,
) -> None:
    """Orders that cannot be advanced, with the reason, and those that have waited for long: whose
    answer, how often tried, and whether something is parked."""
    found = client_of(context).get("/v1/sagas/stuck", seconds=seconds, limit=limit)
    _print(found, as_json=as_json, empty="no stuck orders")


@sagas.command()
def retry(
    context: typer.Context,
    orders: Annotated[list[str], typer.Argument(help="Ids of orders.")],
    *,
    reason: Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Have what orders wait for asked for again now, without waiting for the next try.

    Exits with 1 unless all were taken.
    """
    have_done(client_of(context), Action.RETRY, orders, reason=reason, as_json=as_json)


def _print(found: Sequence[Row], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ("order", "saga", "since (UTC)", "waits for", "rounds", "next try (UTC)", "parked"),
        (
            (
                *(row["order_id"], row["saga_state"], moment(row["saga_since"])),
                row["stuck_reason"] or row["waits_for"],
                *(row["rounds"], moment(row["next_try_at"]), row["parked"]),
            )
            for row in found
        ),
        empty=empty,
    )
