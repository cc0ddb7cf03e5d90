"""The databases of the contenders: made from the services' migrations, watched, and checked.

Ours and the peers have the same tables: orders, history, products, reservations, movements and
payments, with all of their constraints and triggers. `Databases` says where each part is.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from deploy.local.home import PROJECT
from deploy.local.stack import LocalStack
from deploy.verify.databases import rows

_LONGEST_WAIT = 60.0  # seconds until the last reservation is booked as sold
STOCK = 100_000_000


@dataclass(frozen=True, slots=True)
class Databases:
    """Addresses by what is in them; the same one several times where a program has one database."""

    order: str
    inventory: str
    payment: str


def create(stack: LocalStack, peer: str, *, one: bool) -> Databases:
    """Empty databases for a peer: `one` for everything, or one for each service."""
    services = ("order", "inventory", "payment")
    names = {service: peer if one else f"{peer}_{service}" for service in services}
    addresses = {name: stack.create_database(name) for name in sorted(set(names.values()))}
    for service, name in names.items():
        for path in sorted((PROJECT / "services" / service / "migrations").glob("*.sql")):
            execute(addresses[name], _up(path))
    return Databases(**{service: addresses[name] for service, name in names.items()})


def add_products(databases: Databases, count: int) -> None:
    """Products with the numbers 1 to `count` as their ids, and stock for everybody."""
    execute(
        databases.inventory,
        f"""
        INSERT INTO products (id, name, price, currency, stock_quantity)
        SELECT lpad(to_hex(number), 32, '0')::uuid, 'Print', 12000, 'zar', {STOCK}
          FROM generate_series(1, {count}) AS number
        """,
    )


def execute(dsn: str, *statements: str) -> None:
    """Runs statements, each by itself."""

    async def run() -> None:
        db = await asyncpg.connect(dsn)
        try:
            for statement in statements:
                await db.execute(statement)
        finally:
            await db.close()

    asyncio.run(run())


def fetch(dsn: str, query: str) -> Mapping[str, Any]:
    """The one row that a query returns."""
    (row,) = asyncio.run(rows(dsn, query))
    return row


def check(databases: Databases) -> int:
    """Compares orders, stock and payments, waiting for what is still under way.

    Returns the number of orders. Raises AssertionError with what does not add up.
    """
    until = time.monotonic() + _LONGEST_WAIT
    while (wrong := _differences(databases)) and time.monotonic() < until:
        time.sleep(0.5)
    if wrong:
        raise AssertionError("; ".join(wrong))
    return int(fetch(databases.order, "SELECT count(*) FROM orders")["count"])


def _differences(databases: Databases) -> list[str]:
    orders = fetch(
        databases.order,
        """
        SELECT count(*) AS placed, coalesce(sum(total), 0)::bigint AS money,
               count(*) FILTER (WHERE (status, payment_status) = ('confirmed', 'paid'))
               AS confirmed,
               (SELECT count(*) FROM order_status_history WHERE new_status = 'confirmed') AS logged,
               (SELECT count(*) FROM order_items) AS pieces
          FROM orders
        """,
    )
    stock = fetch(
        databases.inventory,
        """
        SELECT count(*) FILTER (WHERE opening_stock + moved <> stock_quantity) AS wrong,
               coalesce(sum(taken), 0)::bigint AS taken,
               (SELECT coalesce(sum(quantity), 0)::bigint
                  FROM reservations WHERE state = 'committed') AS sold
          FROM products
          JOIN (SELECT product_id, sum(quantity) AS moved,
                       -coalesce(sum(quantity) FILTER (WHERE order_id IS NOT NULL), 0) AS taken
                  FROM stock_movements GROUP BY 1) AS movements ON product_id = id
        """,
    )
    payments = fetch(
        databases.payment,
        """
        SELECT count(*) AS paid, coalesce(sum(amount_received), 0)::bigint AS money
          FROM payments WHERE status = 'succeeded'
        """,
    )
    claims = {
        "orders confirmed": (orders["confirmed"], orders["placed"]),
        "confirmations in the history": (orders["logged"], orders["placed"]),
        "payments": (payments["paid"], orders["placed"]),
        "money": (payments["money"], orders["money"]),
        "products whose stock is not opening stock and movements": (stock["wrong"], 0),
        "pieces taken": (stock["taken"], orders["pieces"]),
        "pieces sold": (stock["sold"], orders["pieces"]),
    }
    return [
        f"{what}: {found}, should be {should}"
        for what, (found, should) in claims.items()
        if found != should
    ]


def log_position(stack: LocalStack) -> int:
    """Bytes of write-ahead log so far, of the whole server."""
    query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS bytes"
    return int(fetch(stack.postgres_server.admin_dsn, query)["bytes"])


@contextmanager
def counting_statements(stack: LocalStack) -> Iterator[Callable[[], int]]:
    """Within, the server logs every statement, and the result counts them, BEGIN and COMMIT
    included. That costs time, so it is for warming up and not for what is measured."""
    admin, log = stack.postgres_server.admin_dsn, stack.log("postgres")
    began = log.stat().st_size
    # Values can be large, and are not wanted.
    on = ("log_statement = 'all'", "log_parameter_max_length = 0")
    execute(admin, *(f"ALTER SYSTEM SET {setting}" for setting in on), "SELECT pg_reload_conf()")
    try:
        yield lambda: _statements(log, began)
    finally:
        execute(admin, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")


def _statements(log: Path, began: int) -> int:
    with log.open("rb") as file:
        file.seek(began)
        logged = file.read()
    # The superuser's own database is where this program works.
    found = re.findall(rb"(\S+@\S+) LOG:  (?:statement|execute [^:]+): ", logged)
    return sum(who != b"postgres@postgres" for who in found)


def _up(path: Path) -> str:
    _, _, after = path.read_text().partition("-- migrate:up")
    return after.partition("-- migrate:down")[0]
