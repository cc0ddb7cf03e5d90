"""Prints what the demonstration did: orders, their timelines, stock, and all that is wrong."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.local.demo_outcomes import Outcome, Stock
from deploy.local.shop import Json


def print_report(outcomes: list[Outcome], stocks: list[Stock]) -> bool:
    """Prints tables of orders and stock; True if every expectation came true."""
    # A pipe has no width of its own.
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    console.print(_orders(outcomes))
    console.print(_stocks(stocks))
    wrong = sum(bool(outcome.wrong()) for outcome in outcomes)
    wrong += sum(stock.final != stock.expected for stock in stocks)
    checked = len(outcomes) + len(stocks)
    if wrong:
        console.print(f"[bold red]{wrong} of {checked} outcomes are wrong[/]")
    else:
        console.print(f"[bold green]all {checked} outcomes are right[/]")
    return wrong == 0


def _orders(outcomes: list[Outcome]) -> Table:
    table = Table(title="Orders", show_lines=True)
    for column in ("story", "total", "outcome", "payment", "kept at Stripe", "timeline"):
        table.add_column(column)
    # Those who lost the race have nothing to tell apart.
    for cells, alike in groupby(map(_cells, outcomes)):
        number = len(list(alike))
        times = f" (x{number})" if number > 1 else ""
        table.add_row(f"{cells[0]}{times}", *cells[1:])
    return table


def _cells(outcome: Outcome) -> list[str]:
    wrong = outcome.wrong()
    order = outcome.order
    if order is None:
        cells = ["", "refused", "", "", "\n".join(outcome.messages)]
    else:
        cells = [
            _rand(order["total"]),
            order["status"],
            order["payment_status"],
            "" if outcome.kept is None else _rand(outcome.kept),
            f"{_timeline(order)}\nmails: {', '.join(outcome.mails)}",
        ]
    # Names and messages come from elsewhere: only the markup added here is markup.
    cells = [escape(cell) for cell in cells]
    cells[-1] += "".join(f"\n[bold red]WRONG {escape(line)}[/]" for line in wrong)
    mark = "[red]✗[/]" if wrong else "[green]✓[/]"
    return [f"{mark} {escape(outcome.title)}", *cells]


def _rand(cents: int) -> str:
    return f"R{cents / 100:.2f}"


def _timeline(order: Json) -> str:
    begun = datetime.fromisoformat(order["created_at"])
    lines = []
    for change in order["history"]:
        after = (datetime.fromisoformat(change["created_at"]) - begun).total_seconds()
        line = f"{max(after, 0):5.1f} s {change['new_status']:<10} by {change['changed_by']}"
        lines.append(line + (f": {change['reason']}" if change["reason"] else ""))
    if order.get("admin_notes"):
        lines.append(f"notes: {order['admin_notes']}")
    return "\n".join(lines)


def _stocks(stocks: list[Stock]) -> Table:
    table = Table("product", title="Stock")
    for column in (
        "opening",
        "- ordered",
        "+ given back",
        "= expected",
        "in the catalogue",
        "sold",
    ):
        table.add_column(column, justify="right")
    for stock in stocks:
        right = stock.final == stock.expected
        final = f"[green]{stock.final} ✓[/]" if right else f"[bold red]{stock.final} WRONG[/]"
        table.add_row(
            escape(stock.name),
            str(stock.opening),
            str(stock.ordered),
            str(stock.given_back),
            str(stock.expected),
            final,
            str(stock.ordered - stock.given_back),
        )
    return table
