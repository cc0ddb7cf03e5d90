"""`ops verify`: a line for each check, and what breaks it."""

from typing import Annotated

import typer

from services.ops.cli.client import Exit
from services.ops.cli.printing import Json, client_of, console, print_json, print_table


def verify(
    context: typer.Context,
    settled_seconds: Annotated[
        float, typer.Option(min=0, help="Orders that changed since are not compared.")
    ] = 30,
    waiting_seconds: Annotated[
        float | None, typer.Option(min=0, help="How long an order may wait for an answer.")
    ] = None,
    lag_seconds: Annotated[
        float, typer.Option(min=0, help="How far a service may be behind.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Check what ops has heard: audit, money and stock of each order, what waits, parked, behind.

    Exits with 1 if anything is wrong. `make verify` compares the databases themselves.
    """
    made = client_of(context).get(
        "/v1/verdict",
        settled_seconds=settled_seconds,
        waiting_seconds=waiting_seconds,
        lag_seconds=lag_seconds,
    )
    if as_json:
        print_json(made)
    else:
        print_table(
            ("check", "looked at", "", "wrong"),
            ((row["name"], row["looked_at"], row["of_what"], row["wrong"]) for row in made),
            empty="",
        )
        out = console()
        for row in made:
            for finding in row["findings"]:
                out.print(f"{row['name']:<12} {finding}", markup=False)
            if row["wrong"] > len(row["findings"]):
                more = row["wrong"] - len(row["findings"])
                out.print(f"{row['name']:<12} ... and {more} more")
    if any(row["wrong"] for row in made):
        raise typer.Exit(Exit.WRONG)
