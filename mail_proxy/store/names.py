"""The names a shell offers on Tab, read without opening the store, which takes longer than a person waits."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

from mail_proxy.store.queries import Query, load

SQL = load("names")

PATIENCE = 0.1
"""Seconds for the database to answer."""

Kind = Literal["tenants", "accounts", "messages", "batches", "storages"]


def names_like(begun: str, kind: Kind, target: str | Path, tenant_id: str = "") -> list[str]:
    """Return names that begin so, from a SQLite file (a path) or a PostgreSQL database (a URL).

    Whatever is wrong with the database, there is just nothing to offer.
    """
    params = {"begun": begun, "tenant_id": tenant_id}
    if isinstance(target, Path):
        return _of_sqlite(target, SQL[kind], params)
    import asyncio

    return asyncio.run(_of_postgres(target, SQL[kind], params))


def _of_sqlite(path: Path, query: Query, params: dict[str, str]) -> list[str]:
    import sqlite3

    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as raw:
            return [str(name) for (name,) in raw.execute(query.sqlite, params)]
    except sqlite3.Error:
        return []


async def _of_postgres(url: str, query: Query, params: dict[str, str]) -> list[str]:
    import asyncio

    import asyncpg

    try:
        async with asyncio.timeout(PATIENCE):
            connection = await asyncpg.connect(url)
            try:
                rows = await connection.fetch(query.postgres, *query.arguments(params))
            finally:
                connection.terminate()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError):
        return []
    return [str(row["name"]) for row in rows]
