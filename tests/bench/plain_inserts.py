"""The least that storing can cost: rows of one table, inserted without a thought. A limit for batches."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import asyncpg

PER_COMMIT = 100


def sqlite_rate(path: Path, rows: int, size: int) -> float:
    """Rows a second, durable (WAL, synchronous=FULL), 100 a commit, `size` bytes a row."""
    content = b"x" * size
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("CREATE TABLE plain (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, content BLOB NOT NULL)")
        begun = time.perf_counter()
        for start in range(0, rows, PER_COMMIT):
            raw.execute("BEGIN IMMEDIATE")
            raw.executemany(
                "INSERT INTO plain (id, content) VALUES (?, ?)",
                [(f"plain-{start + i}", content) for i in range(PER_COMMIT)],
            )
            raw.execute("COMMIT")
        return rows / (time.perf_counter() - begun)


async def postgres_rate(dsn: str, rows: int, size: int) -> float:
    """Rows a second, durable if the server is, 100 a commit over one connection, `size` bytes a row."""
    content = b"x" * size
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(
            "CREATE TABLE plain (seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
            " id TEXT NOT NULL, content BYTEA NOT NULL)"
        )
        begun = time.perf_counter()
        for start in range(0, rows, PER_COMMIT):
            async with connection.transaction():
                await connection.executemany(
                    "INSERT INTO plain (id, content) VALUES ($1, $2)",
                    [(f"plain-{start + i}", content) for i in range(PER_COMMIT)],
                )
        return rows / (time.perf_counter() - begun)
    finally:
        await connection.close()
