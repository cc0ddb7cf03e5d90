"""The audit: records are appended and read, never changed; the database sees to that."""

from collections.abc import Mapping, Sequence

import asyncpg

from services.kit.db import Connection, Pool
from services.ops.chain import Entry, Head, Link

Place = tuple[str, int]
"""A chain: topic and partition."""


async def lock_heads(db: Connection, chains: Sequence[Place]) -> dict[Place, Head]:
    """The ends of chains, locked in their order; a chain begins here."""
    rows = await db.fetch(
        """
        INSERT INTO audit_chains (topic, partition, length, head)
        SELECT topic, partition, $3::bigint, $4::bytea
          FROM unnest($1::text[], $2::int[]) AS wanted (topic, partition)
         ORDER BY topic, partition
        ON CONFLICT (topic, partition) DO UPDATE SET length = audit_chains.length
        RETURNING topic, partition, length, head
        """,
        [topic for topic, _ in chains],
        [partition for _, partition in chains],
        *Head(),
    )
    return {(row["topic"], row["partition"]): Head(row["length"], row["head"]) for row in rows}


async def save_heads(db: Connection, heads: Mapping[Place, Head]) -> None:
    await db.execute(
        """
        UPDATE audit_chains
           SET length = written.length, head = written.head
          FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[])
               AS written (topic, partition, length, head)
         WHERE audit_chains.topic = written.topic AND audit_chains.partition = written.partition
        """,
        [topic for topic, _ in heads],
        [partition for _, partition in heads],
        [head.length for head in heads.values()],
        [head.hash for head in heads.values()],
    )


async def insert_links(db: Connection, links: Sequence[Link]) -> None:
    await db.execute(
        """
        INSERT INTO audit_records
               (topic, partition, position, "offset", message_id, type, subject, version, action,
                old_status, new_status, changed_by, happened_at, recorded_at, payload, previous,
                hash)
        SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::uuid[],
                             $6::text[], $7::text[], $8::int[], $9::text[], $10::text[],
                             $11::text[], $12::text[], $13::timestamptz[], $14::timestamptz[],
                             $15::text[], $16::bytea[], $17::bytea[])
        """,
        *map(list, zip(*(link.entry for link in links), strict=True)),
        [link.previous for link in links],
        [link.hash for link in links],
    )


async def find_heads(pool: Pool) -> dict[Place, Head]:
    rows = await pool.fetch(
        "SELECT topic, partition, length, head FROM audit_chains ORDER BY topic, partition"
    )
    return {(row["topic"], row["partition"]): Head(row["length"], row["head"]) for row in rows}


async def read_chain(pool: Pool, chain: Place, after: int, to: int, limit: int) -> list[Link]:
    """The links behind a position and up to another, in their order."""
    rows = await pool.fetch(
        """
        SELECT topic, partition, position, "offset", message_id, type, subject, version, action,
               old_status, new_status, changed_by, happened_at, recorded_at, payload, previous, hash
          FROM audit_records
         WHERE topic = $1 AND partition = $2 AND position > $3 AND position <= $4
         ORDER BY position
         LIMIT $5
        """,
        *chain,
        after,
        to,
        limit,
    )
    return [
        Link(Entry(*(row[name] for name in Entry._fields)), row["previous"], row["hash"])
        for row in rows
    ]


async def end_of_page(pool: Pool, after: str, records: int) -> str | None:
    """The last subject of a page of so many records behind a subject; None when there is none."""
    found: str | None = await pool.fetchval(
        """
        SELECT coalesce((SELECT subject FROM audit_records
                          WHERE subject > $1 ORDER BY subject OFFSET $2 LIMIT 1),
                        (SELECT subject FROM audit_records
                          WHERE subject > $1 ORDER BY subject DESC LIMIT 1))
        """,
        after,
        records - 1,
    )
    return found


async def find_gaps(pool: Pool, after: str, upto: str, limit: int) -> list[asyncpg.Record]:
    """Records of the subjects behind one and up to another that do not follow the one before in
    their order's or payment's own count: a version is missing or there twice, or the status before
    is another one's."""
    return await pool.fetch(
        """
        SELECT topic, subject, version, version_before
          FROM (SELECT topic, subject, version, old_status,
                       lag(version, 1, 0) OVER history AS version_before,
                       lag(new_status) OVER history AS status_before
                  FROM audit_records
                 WHERE version IS NOT NULL AND subject > $1 AND subject <= $2
                WINDOW history AS (PARTITION BY topic, subject ORDER BY version)) AS followed
         WHERE version <> version_before + 1 OR old_status IS DISTINCT FROM status_before
         ORDER BY topic, subject, version
         LIMIT $3
        """,
        after,
        upto,
        limit,
    )


async def find_tail(pool: Pool, limit: int) -> list[asyncpg.Record]:
    """The newest records, the oldest of them first."""
    rows = await pool.fetch("SELECT * FROM audit_trail ORDER BY id DESC LIMIT $1", limit)
    return rows[::-1]


async def find_newer(pool: Pool, after: int, limit: int) -> list[asyncpg.Record]:
    """The records behind a number."""
    return await pool.fetch(
        "SELECT * FROM audit_trail WHERE id > $1 ORDER BY id LIMIT $2", after, limit
    )


async def find_older(pool: Pool, before: int | None, limit: int) -> list[asyncpg.Record]:
    """The newest records, or those before a number; the newest of them first."""
    return await pool.fetch(
        """
        SELECT * FROM audit_trail WHERE id < coalesce($1, 9223372036854775807)
         ORDER BY id DESC LIMIT $2
        """,
        before,
        limit,
    )


async def find_of_subject(pool: Pool, subject: str, limit: int) -> list[asyncpg.Record]:
    """What was recorded of an order or a product, the oldest first."""
    return await pool.fetch(
        "SELECT * FROM audit_trail WHERE subject = $1 ORDER BY happened_at, id LIMIT $2",
        subject,
        limit,
    )
