"""`ops stock`: what there is, how it moved, and adjustments."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from contracts.message import new_message_id
from services.ops.cli.client import Client, Exit, Failed, repeatable
from services.ops.cli.printing import (
    Json,
    Row,
    cell,
    client_of,
    console,
    moment,
    print_json,
    print_table,
)
from services.ops.plot import Point, stock_svg

stock = typer.Typer(no_args_is_help=True, help="Stock of each product, and how it moved.")

PATIENCE = 30.0
"""Seconds after which inventory's answer is not waited for any longer."""

Product = Annotated[UUID, typer.Argument(help="A product's id.", show_default=False)]
Search = Annotated[str | None, typer.Option(help="Part of a name, or an id.")]


@stock.command()
def report(context: typer.Context, search: Search = None, as_json: Json = False) -> None:
    """Level, held, sold and days of cover of each product, by name.

    Cover is the level by the mean sold per day of the last 28 days, or since the first movement.
    """
    found = sorted(_all(client_of(context), search=search), key=lambda row: row["name"] or "")
    _print(found, as_json=as_json, empty="no such products")


@stock.command()
def low(context: typer.Context, search: Search = None, as_json: Json = False) -> None:
    """What is at its threshold or below, the shortest cover first."""
    found = sorted(
        _all(client_of(context), search=search, low="true"),
        key=lambda row: (row["days_of_cover"] is None, row["days_of_cover"], row["level"]),
    )
    _print(found, as_json=as_json, empty="nothing is low")


@stock.command()
def show(
    context: typer.Context,
    product: Product,
    days: Annotated[int, typer.Option(min=1, max=366, help="To today.")] = 28,
    svg: Annotated[
        Path | None, typer.Option(help="Write a plot there, too.", dir_okay=False, writable=True)
    ] = None,
    as_json: Json = False,
) -> None:
    """One product, day by day (UTC), and the adjustments that were asked for here."""
    found = client_of(context).get(f"/v1/stock/{product}", days=days)
    if svg:
        _plot(found, svg)
    if as_json:
        print_json(found)
        return
    out = console()
    out.print(f"product     {found['product_id']}   {cell(found['name'])}")
    out.print(f"level       {cell(found['level'])}{', low' if found['low'] else ''}")
    out.print(f"held, sold  {found['held']}, {found['sold']}")
    out.print(f"unrecorded  {cell(found['unrecorded'])}")
    out.print(f"cover       {_cover(found)}")
    kinds = ("received", "written_off", "reserved", "committed", "restored", "returned")
    print_table(
        ("day", *(kind.replace("_", " ") for kind in kinds), "level"),
        (
            (day["day"], *(day[kind] or "" for kind in kinds), day["level"])
            for day in found["history"]
            if any(day[kind] for kind in kinds)
        ),
        empty="nothing moved in these days",
    )
    for row in found["adjustments"]:
        told = _outcome(row)
        out.print(
            f"{moment(row['requested_at'])}  {row['delta']:+} by {cell(row['requested_by'])}: "
            f"{told['outcome']} {cell(told['why'])} ({cell(row['reason'])})"
        )


@stock.command()
def adjust(
    context: typer.Context,
    product: Product,
    by: Annotated[int, typer.Option(help="Pieces to add; --by -3 takes three off.")],
    reason: Annotated[str, typer.Option(help="Why; kept with your name.", show_default=False)],
    adjustment: Annotated[
        UUID | None,
        typer.Option("--id", help="Of one that was sent before: it is not done twice."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Have inventory add to a product's stock, and say what really came of it."""
    client = client_of(context)
    adjustment = adjustment or new_message_id()
    path = f"/v1/stock/adjustments/{adjustment}"
    with repeatable(adjustment, "it may have been sent"):
        asked = client.put(path, {"product_id": str(product), "delta": by, "reason": reason})
        told = _outcome(_wait(client, path, asked))
    if as_json:
        print_json(told)
    else:
        print_table(
            ("product", "by", "outcome", "level", "why"),
            [(told["product_id"], f"{by:+}", told["outcome"], told["level"], told["why"])],
            empty="",
        )
    if told["code"] == "not_found":
        raise typer.Exit(Exit.NOT_FOUND)
    if told["outcome"] != "adjusted":
        raise typer.Exit(Exit.WRONG)


def _all(client: Client, **query: Any) -> Iterator[Row]:
    after: str | None = None
    while page := client.get("/v1/stock", after=after, limit=500, **query):
        yield from page
        after = page[-1]["product_id"]


def _print(found: list[Row], *, as_json: bool, empty: str) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ("product", "name", "level", "held", "sold", "sold/day", "cover", "", "moved (UTC)"),
        (
            (
                *(row["product_id"], row["name"], row["level"], row["held"], row["sold"]),
                *(row["sold_per_day"], _cover(row)),
                "removed" if row["removed"] else "low" if row["low"] else "",
                moment(row["last_moved_at"]),
            )
            for row in found
        ),
        empty=empty,
    )


def _cover(row: Row) -> str:
    return "-" if row["days_of_cover"] is None else f"{row['days_of_cover']} days"


def _plot(found: Row, path: Path) -> None:
    points = [Point(day["day"], day["level"], day["committed"]) for day in found["history"]]
    name = found["name"] or found["product_id"]
    try:
        path.write_text(stock_svg(name, points), encoding="utf-8")
    except OSError as error:
        raise Failed(
            Exit.USAGE, f"the plot cannot be written: {error}", "name another file"
        ) from None


def _wait(client: Client, path: str, asked: Row) -> Row:
    """The adjustment once it is answered, or as it is when that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while asked["answered_at"] is None and time.monotonic() < deadline:
        time.sleep(0.3)
        asked = client.get(path)
    return asked


def _outcome(row: Row) -> Row:
    """`adjusted`, `refused`, or `unknown` while there is no answer."""
    if row["answered_at"] is None:
        outcome, why = "unknown", f"no answer yet: does inventory run? Repeat with --id {row['id']}"
    elif row["problem"]:
        outcome, why = "refused", row["problem"]
    else:
        outcome, why = "adjusted", ""
    kept = {name: row[name] for name in ("id", "product_id", "delta", "level", "code")}
    return {**kept, "outcome": outcome, "why": why}
