"""A connection that keeps the plan of each statement, as the service's own connections plan it.

Statements run through a service's own store functions, so a plan belongs to the SQL that is
deployed. Each is prepared, explained with ANALYZE in a savepoint that is rolled back, and then run.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import asyncpg

Node = dict[str, Any]


class Plan(NamedTuple):
    """One statement, and the tree that PostgreSQL gives for it."""

    sql: str
    root: Node

    def nodes(self) -> Iterator[Node]:
        waiting = [self.root]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += node.get("Plans", [])

    def scanned_in_full(self) -> set[str]:
        """Tables that are read from their first page to their last."""
        return {node["Relation Name"] for node in self.nodes() if node["Node Type"] == "Seq Scan"}

    def rows_read(self) -> int:
        """Rows that were read from tables and indexes, also those that a filter dropped."""
        return sum(
            round(node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
            * round(node["Actual Loops"])
            for node in self.nodes()
            if "Scan" in node["Node Type"] and ("Relation Name" in node or "Index Name" in node)
        )


class Explaining:
    """Stands in for a connection, and for a pool of one."""

    def __init__(self, db: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._db = db
        self.plans: list[Plan] = []

    async def fetch(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, values)
        return await self._db.fetch(sql, *values)

    async def fetchrow(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, values)
        return await self._db.fetchrow(sql, *values)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, values)
        return await self._db.fetchval(sql, *values)

    async def execute(self, sql: str, *values: Any) -> Any:
        await self._explain(sql, values)
        return await self._db.execute(sql, *values)

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        return self._db.transaction()

    async def _explain(self, sql: str, values: tuple[Any, ...]) -> None:
        await self._db.execute(f"PREPARE explained AS {sql}")
        arguments = ", ".join(map(_literal, values))
        savepoint = self._db.transaction()
        await savepoint.start()
        try:
            (row,) = await self._db.fetch(
                "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE explained"
                + (f"({arguments})" if arguments else "")
            )
        finally:
            await savepoint.rollback()
            await self._db.execute("DEALLOCATE explained")
        self.plans.append(Plan(sql, json.loads(row[0])[0]["Plan"]))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple | set | frozenset):
        items = ",".join('"' + _text(item).replace('"', r"\"") + '"' for item in value)
        return _quoted("{" + items + "}")
    return _quoted(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds()} seconds"
    return str(value)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
