"""The least that storing can cost, without a thought: limits for batches.

`one_table` is rows of one table; `message` is the rows that a message is made of (its state, its content,
its first event), in the real schema. Durable, 100 a commit, over one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import asyncpg

from mail_proxy.store.queries import Query, load
from tests.bench.rig import ACCOUNT, RECIPIENT, SENDER, TENANT

PER_COMMIT = 100
FIRST_SEQ = 10_000_000
"""Beyond what the bench itself queues."""

_CREATE = "CREATE TABLE IF NOT EXISTS plain (id TEXT NOT NULL, content {blob} NOT NULL)"
_INSERT = Query(
    name="plain",
    doc="one row of one table",
    sqlite="INSERT INTO plain (id, content) VALUES (:id, :payload)",
    postgres="INSERT INTO plain (id, content) VALUES ($1, $2)",
    order=("id", "payload"),
)


def one_table(target: str | Path, rows: int, size: int) -> float:
    """Rows a second, of `size` bytes each."""
    return _rate(target, [_INSERT], rows, size)


def message(target: str | Path, rows: int, size: int) -> float:
    """Messages a second, of `size` bytes each; the database has the schema and the bench's account."""
    intake = load("intake")
    queries = [intake["insert"], intake["insert_payload"], load("messages")["insert_event"]]
    return _rate(target, queries, rows, size)


def _rate(target: str | Path, queries: Sequence[Query], rows: int, size: int) -> float:
    commits = [list(_rows(start, size)) for start in range(0, rows, PER_COMMIT)]
    if isinstance(target, Path):
        return rows / _sqlite_seconds(target, queries, commits)
    return rows / asyncio.run(_postgres_seconds(target, queries, commits))


def _rows(start: int, size: int) -> Iterator[dict[str, object]]:
    """What any of the statements may want to know of a message."""
    now, content = time.time(), b"x" * size
    for number in range(start, start + PER_COMMIT):
        yield {
            "seq": FIRST_SEQ + number,
            "pk": str(uuid.uuid4()),
            "tenant_id": TENANT,
            "id": f"plain-{number}",
            "account_id": ACCOUNT,
            "lane": 1,
            "status": "error",
            "priority": 2,
            "batch_code": None,
            "recipients": f'[["{RECIPIENT}"]]',
            "envelope_from": SENDER,
            "message_id": f"<plain-{number}@bench.test>",
            "metadata": None,
            "is_pec": 0,
            "is_held": 0,
            "size": size,
            "now": now,
            "deferred_ts": None,
            "kind": "fields",
            "payload": content,
            "event_type": "queued",
            "event_ts": now,
            "description": "",
            "event_data": None,
            "is_due": 0,
        }


def _sqlite_seconds(path: Path, queries: Sequence[Query], commits: list[list[dict[str, object]]]) -> float:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute(_CREATE.format(blob="BLOB"))
        begun = time.perf_counter()
        for rows in commits:
            raw.execute("BEGIN IMMEDIATE")
            for query in queries:
                raw.executemany(query.sqlite, rows)
            raw.execute("COMMIT")
        return time.perf_counter() - begun


async def _postgres_seconds(
    dsn: str, queries: Sequence[Query], commits: list[list[dict[str, object]]]
) -> float:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(_CREATE.format(blob="BYTEA"))
        begun = time.perf_counter()
        for rows in commits:
            async with connection.transaction():
                for query in queries:
                    await connection.executemany(query.postgres, [query.arguments(row) for row in rows])
        return time.perf_counter() - begun
    finally:
        await connection.close()
