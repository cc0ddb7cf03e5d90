"""`ops audit`."""

import time
from typing import Annotated

import typer

from services.ops.cli.client import Exit
from services.ops.cli.orders import LOOK_EVERY
from services.ops.cli.printing import (
    Json,
    client_of,
    console,
    moment,
    print_json,
    print_json_lines,
    print_table,
)

audit = typer.Typer(no_args_is_help=True, help="Who changed what, when and why.")


@audit.command()
def tail(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """The newest records."""
    client = client_of(context)
    after: int | None = None
    try:
        while True:
            found = client.get("/v1/audit", after=after, limit=limit)
            if as_json and follow:
                print_json_lines(found)
            elif as_json:
                print_json(found)
            elif found or not follow:
                print_table(
                    ("time (UTC)", "topic", "subject", "version", "from", "to", "action", "by"),
                    (
                        (
                            *(moment(row["happened_at"]), row["topic"], row["subject"]),
                            *(row["version"], row["old_status"], row["new_status"]),
                            *(row["action"], row["changed_by"]),
                        )
                        for row in found
                    ),
                    empty="no records yet",
                )
            if not follow:
                return
            after = found[-1]["id"] if found else after or 0
            time.sleep(LOOK_EVERY)
    except KeyboardInterrupt:
        return


@audit.command()
def verify(
    context: typer.Context,
    settled_seconds: Annotated[
        float, typer.Option(min=0, help="Orders that changed since are not compared.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Prove it: every hash, every order's history, and how each order was published last.

    Exits with 1 if anything is not as it was written.
    """
    verdict = client_of(context).get("/v1/audit/verdict", settled_seconds=settled_seconds)
    findings = [*verdict["broken"], *verdict["gaps"], *verdict["differences"]]
    if as_json:
        print_json(verdict)
    else:
        out = console()
        out.print(f"{verdict['records']} records in {len(verdict['chains'])} chains")
        for topic, partition, position, what, subject in verdict["broken"]:
            about = f" (of {subject})" if subject else ""
            out.print(f"broken     {topic}/{partition} at {position}: {what}{about}")
        for gap in verdict["gaps"]:
            out.print(f"gap        {gap}")
        for difference in verdict["differences"]:
            out.print(f"different  {difference}")
        if not findings:
            out.print("nothing was altered, nothing is missing")
    if findings:
        raise typer.Exit(Exit.WRONG)
