"""`python -m services.ops.cli`: the commands by group, and how errors end."""

import sys
from typing import Annotated

import typer

from services.ops.cli.audit import audit
from services.ops.cli.bulk import bulk
from services.ops.cli.client import Client, Failed
from services.ops.cli.dead_letters import dead_letters
from services.ops.cli.orders import orders
from services.ops.cli.printing import Json, client_of, console, print_json, print_table
from services.ops.cli.refunds import refunds
from services.ops.cli.sagas import sagas
from services.ops.cli.stock import stock
from services.ops.cli.stripe import stripe
from services.ops.cli.verify import verify

app = typer.Typer(
    name="ops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Audit, timelines, parked messages and stock of the system.\n\nExit codes: 0 done; "
    "1 something is not as it should be; 2 not understood; 3 no such thing; 4 not allowed; "
    "5 no answer.",
)
app.add_typer(orders, name="orders")
app.add_typer(sagas, name="sagas")
app.add_typer(refunds, name="refunds")
app.add_typer(dead_letters, name="dead-letters")
app.add_typer(stock, name="stock")
app.add_typer(stripe, name="stripe")
app.add_typer(audit, name="audit")
app.command()(bulk)
app.command()(verify)


@app.callback()
def connect(
    context: typer.Context,
    url: Annotated[
        str, typer.Option(envvar="OPS_URL", help="The address of the ops service.")
    ] = "http://127.0.0.1:8001",
    token: Annotated[
        str | None,
        typer.Option(envvar="OPS_TOKEN", help="A bearer token.", show_envvar=True),
    ] = None,
) -> None:
    context.obj = Client(url.rstrip("/"), token)


@app.command()
def lag(context: typer.Context, as_json: Json = False) -> None:
    """How many records each service has not handled yet, by topic, and how old the oldest is."""
    found = client_of(context).get("/v1/lag")
    if as_json:
        print_json(found)
        return
    print_table(
        ("service", "topic", "behind", "seconds"),
        (
            (row["group"], row["topic"], row["records"], f"{row['seconds']:.0f}")
            for row in found
            if row["records"]
        ),
        empty="nobody is behind",
    )


def main() -> None:
    """Run a command; what fails is told in words."""
    try:
        app(prog_name="ops")
    except Failed as failed:
        out = console(stderr=True)
        out.print(f"error: {failed}", markup=False)
        out.print(f"  what to do: {failed.todo}", markup=False)
        sys.exit(failed.code)


if __name__ == "__main__":
    main()
