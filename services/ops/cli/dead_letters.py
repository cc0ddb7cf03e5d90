"""`ops dead-letters`: a parked message is named `service/number`, such as `payment/17`."""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from services.ops.cli.client import Client, Exit, Failed
from services.ops.cli.printing import (
    Json,
    Row,
    cell,
    client_of,
    console,
    letter,
    moment,
    print_json,
    print_table,
)

dead_letters = typer.Typer(no_args_is_help=True, help="Parked messages of all services.")

AT_ONCE = 100
"""Messages that are asked for before the outcome of the last ones is known: no service is flooded
by a replay."""
PATIENCE = 60.0
"""Seconds after which an outcome is not waited for any longer."""

Letters = Annotated[list[str] | None, typer.Argument(help="Such as payment/17.")]
Reason = Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)]
Service = Annotated[str | None, typer.Option(help="Only of this service.")]


@dead_letters.command("list")
def list_letters(
    context: typer.Context,
    service: Service = None,
    everything: Annotated[bool, typer.Option(help="Closed ones, too.")] = False,
    as_json: Json = False,
) -> None:
    """What is parked by cause, and each message."""
    client = client_of(context)
    causes = client.get("/v1/dead-letters/causes")
    found = list(_all_letters(client, service, everything=everything))
    if as_json:
        print_json({"causes": causes, "letters": found})
        return
    if causes:
        print_table(
            ("service", "message", "cause", "parked", "behind", "tries", "since (UTC)"),
            (
                (
                    *(row["service"], row["message_type"], row["cause"], row["messages"]),
                    *(row["waiting"], row["attempts"], moment(row["since"])),
                )
                for row in causes
            ),
            empty="",
        )
    print_table(
        ("letter", "state", "message", "key", "tries", "since (UTC)", "reason"),
        (
            (
                *(letter(row), row["state"], row["message_type"], row["source_key"]),
                *(row["attempts"], moment(row["parked_at"]), row["reason"]),
            )
            for row in found
        ),
        empty="nothing is parked",
    )


@dead_letters.command()
def show(context: typer.Context, name: str, as_json: Json = False) -> None:
    """All that was announced of one message, and what waits behind it."""
    service, parked_id = _parse(name)
    found = client_of(context).get(f"/v1/dead-letters/{service}/{parked_id}")
    if as_json:
        print_json(found)
        return
    out = console()
    for field, value in found.items():
        if field != "behind":
            out.print(f"{field:<18}{cell(value)}")
    print_table(
        ("waits behind it", "message"),
        ((letter(row), row["message_type"]) for row in found["behind"]),
        empty="nothing waits behind it",
    )


@dead_letters.command()
def replay(
    context: typer.Context,
    reason: Reason,
    letters: Letters = None,
    service: Service = None,
    cause: Annotated[str | None, typer.Option(help="Only of a cause that holds this.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Everything that is parked.")] = False,
    as_json: Json = False,
) -> None:
    """Have messages handled again, in order, and say what really came of it.

    Name them, or choose with --service, --cause or --all. Exits with 1 unless all were handled.
    """
    client = client_of(context)
    if letters:
        wanted = [_parse(name) for name in letters]
    elif service or cause or every:
        wanted = [
            (row["service"], row["parked_id"])
            for row in _all_letters(client, service, everything=False)
            if row["state"] == "parked" and (cause or "") in row["cause"]
        ]
    else:
        raise Failed(
            Exit.USAGE, "nothing is named", "name messages, or use --service, --cause or --all"
        )
    _operate(client, "replay", wanted, reason, as_json=as_json)


@dead_letters.command()
def discard(
    context: typer.Context,
    letters: Annotated[list[str], typer.Argument(help="Such as payment/17.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Close messages without handling them; what waits behind them is handled next."""
    _operate(
        client_of(context),
        "discard",
        [_parse(name) for name in letters],
        reason,
        as_json=as_json,
    )


def _parse(name: str) -> tuple[str, int]:
    service, _, number = name.rpartition("/")
    if not service or not number.isdecimal():
        raise Failed(Exit.USAGE, f"{name!r} names no message", "write service/number: payment/17")
    return service, int(number)


def _all_letters(client: Client, service: str | None, *, everything: bool) -> Iterator[Row]:
    after = {"after_service": "", "after_id": 0}
    while page := client.get(
        "/v1/dead-letters", service=service, everything=str(everything).lower(), **after
    ):
        yield from page
        after = {"after_service": page[-1]["service"], "after_id": page[-1]["parked_id"]}


def _operate(
    client: Client,
    operation: str,
    wanted: Sequence[tuple[str, int]],
    reason: str,
    *,
    as_json: bool,
) -> None:
    good = {"replay": "replayed", "discard": "discarded"}[operation]
    outcomes: list[dict[str, Any]] = []
    for start in range(0, len(wanted), AT_ONCE):
        asked = client.post(
            f"/v1/dead-letters/{operation}",
            {
                "letters": [
                    {"service": service, "parked_id": parked_id}
                    for service, parked_id in wanted[start : start + AT_ONCE]
                ],
                "reason": reason,
            },
        )
        outcomes += _wait(client, asked)
        if not as_json and len(wanted) > AT_ONCE:
            console(stderr=True).print(f"{len(outcomes)} of {len(wanted)}")
    if as_json:
        print_json(outcomes)
    else:
        print_table(
            ("letter", "outcome", "why"),
            ((letter(row), row["outcome"], row["why"]) for row in outcomes),
            empty="nothing to do",
        )
    if any(row["outcome"] != good for row in outcomes):
        raise typer.Exit(Exit.WRONG)


def _wait(client: Client, asked: list[Row]) -> list[dict[str, Any]]:
    """What came of each that was asked for: `refused`, `unknown` after a minute, or its outcome."""
    ids = [row["operation_id"] for row in asked if row["operation_id"]]
    deadline = time.monotonic() + PATIENCE
    found: dict[str, Row] = {}
    while ids:
        found = {row["id"]: row for row in client.get("/v1/operations", id=ids)}
        open_ones = [row for row in found.values() if not (row["problem"] or row["outcome"])]
        if not open_ones or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    return [_outcome(row, found.get(row["operation_id"])) for row in asked]


def _outcome(asked: Row, done: Row | None) -> dict[str, Any]:
    name = {"service": asked["service"], "parked_id": asked["parked_id"]}
    problem = asked["problem"] or (done and done["problem"])
    if problem:
        return {**name, "outcome": "refused", "why": problem}
    if done is None or done["outcome"] is None:
        return {**name, "outcome": "unknown", "why": "no answer yet: does the service run?"}
    again = "parked again" if done["outcome"] == "parked" else done["outcome"]
    return {**name, "outcome": again, "why": done["outcome_reason"] or ""}
