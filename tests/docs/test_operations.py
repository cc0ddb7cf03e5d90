"""The SQL of the operations manual fits the schemas, and its log lines are those of the code."""

import re

import asyncpg
import pytest

from docs.generate import OPERATIONS, ROOT
from services.kit.migrate import migrate

FOLDERS = {
    "orders": "order",
    "inventory": "inventory",
    "payment": "payment",
    "gateway": "gateway",
    "notification": "notification",
    "ops": "ops",
}
"""Where the migrations of a database are."""

# ```sql orders: the database that the statements are for.
BLOCKS = re.findall(r"^```sql (\w+)\n(.*?)^```", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", FOLDERS)
async def test_statements_fit_the_schema(name: str, database: str) -> None:
    await migrate(database, ROOT / "services" / FOLDERS[name] / "migrations")
    statements = [
        statement
        for block_database, block in BLOCKS
        if block_database == name
        for statement in block.split(";")
        if statement.strip()
    ]
    connection = await asyncpg.connect(database)
    try:
        for statement in statements:
            await connection.execute(f"EXPLAIN {statement}")
    finally:
        await connection.close()


def test_log_lines_are_what_the_code_writes() -> None:
    section = OPERATIONS.read_text().partition("\n## Logs\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    code = "".join(path.read_text() for path in (ROOT / "services").rglob("*.py"))
    assert lines
    assert not [line for line in lines if f'"{line}"' not in code]


def test_every_block_says_for_which_database_it_is() -> None:
    assert BLOCKS
    assert len(BLOCKS) == OPERATIONS.read_text().count("```sql")
    assert {database for database, _ in BLOCKS} <= FOLDERS.keys()
