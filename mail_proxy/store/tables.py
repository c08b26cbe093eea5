"""Whole tables, read out of a database or written into one, whichever it is.

Statements are made here, for each table from its columns, and not written in ``sql/``: a column that a later
step of the schema adds must not be forgotten in a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable
from mail_proxy.store.backup import finish, new_database
from mail_proxy.store.errors import translating_sqlite
from mail_proxy.store.integrity import read_only
from mail_proxy.store.migration import (
    Table,
    applied_postgres,
    migrate_postgres,
    migrate_sqlite,
    refuse_foreign,
    tables,
)
from mail_proxy.store.queries import load

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.cursor import Cursor

SQL = load("transfer")
SCHEMA = load("integrity")

BUSY_TIMEOUT = 10
"""Seconds to wait for others who write."""

PATIENCE = 3600.0
"""Seconds that one statement may take on PostgreSQL: a lot may go over a slow line."""

Values = Sequence[object]
"""A row: its values in the order of the columns asked for."""


class Rows(Protocol):
    """The rows of a table, to be taken one stretch after the other."""

    async def take(self, count: int) -> Sequence[Values]:
        """Return the next ones, at most `count`; none when there are no more."""
        ...


class Tables(Protocol):
    """The tables of one database. All that is read is of one moment; all that is written, of one transaction.

    Raises what a `Database` does, and `DatabaseUnusable` for rows that the tables do not take.
    """

    @property
    def where(self) -> str: ...

    async def columns(self, table: str) -> tuple[str, ...]: ...

    async def count(self, table: str) -> int: ...

    async def read(self, table: str, columns: Sequence[str]) -> Rows: ...

    async def write(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None: ...

    async def last_number(self, table: Table) -> int:
        """Return the highest number that was given to a row; 0 if none was."""
        ...

    async def go_on_after(self, table: Table, number: int) -> None:
        """Give the next row a higher number than this."""
        ...


def _count(table: str) -> str:
    return f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - a name of our own


def _select(table: str, columns: Sequence[str]) -> str:
    return f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - names of our own, or of the schema


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


class SqliteTables:
    """See `Tables`. It blocks the loop for each stretch: who moves a database does nothing else meanwhile."""

    def __init__(self, raw: sqlite3.Connection, where: str) -> None:
        self._raw = raw
        self.where = where

    @classmethod
    @contextlib.asynccontextmanager
    async def reading(cls, path: Path, *, exclusive: bool) -> AsyncIterator[SqliteTables]:
        """Open a database; `exclusive`: nobody writes into it before it is closed."""
        where = str(path)
        with (
            translating_sqlite(where),
            contextlib.closing(_writable(path) if exclusive else read_only(path)) as raw,
        ):
            refuse_foreign(raw, where)
            raw.execute("BEGIN IMMEDIATE" if exclusive else "BEGIN")
            raw.execute(SCHEMA["tables"].sqlite).fetchall()  # from here on, nothing else is seen
            yield cls(raw, where)

    @classmethod
    @contextlib.asynccontextmanager
    async def filling(cls, path: Path, where: str, version: int) -> AsyncIterator[SqliteTables]:
        """Make a schema in a new file, to be filled; it is read through at the end."""
        with translating_sqlite(where), contextlib.closing(new_database(path)) as raw:
            migrate_sqlite(raw, where, upto=version)
            raw.execute("BEGIN")
            yield cls(raw, where)
            raw.execute("COMMIT")
            finish(raw, where)

    async def columns(self, table: str) -> tuple[str, ...]:
        rows = self._raw.execute(SCHEMA["columns"].sqlite, {"table_name": table})
        return tuple(row[0] for row in rows)

    async def count(self, table: str) -> int:
        count: int = self._raw.execute(_count(table)).fetchone()[0]
        return count

    async def read(self, table: str, columns: Sequence[str]) -> Rows:
        return _SqliteRows(self._raw.execute(_select(table, columns)))

    async def write(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        try:
            self._raw.executemany(_insert(table, columns), rows)
        except sqlite3.IntegrityError as error:
            raise _refused(self.where, table, error) from error

    async def last_number(self, table: Table) -> int:
        row = self._raw.execute(SQL["last_number"].sqlite, {"table_name": table.name}).fetchone()
        return row[0] if row else 0

    async def go_on_after(self, table: Table, number: int) -> None:
        self._raw.execute(SQL["go_on_after"].sqlite, {"table_name": table.name, "number": number})


class _SqliteRows:
    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    async def take(self, count: int) -> Sequence[Values]:
        await asyncio.sleep(0)  # who is told to stop is, between two stretches
        return self._cursor.fetchmany(count)


def _writable(path: Path) -> sqlite3.Connection:
    """Open a file that is there; it is not made."""
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT)


class PostgresTables:
    """See `Tables`."""

    def __init__(self, connection: asyncpg.Connection[asyncpg.Record], where: str) -> None:
        self._connection = connection
        self.where = where

    @classmethod
    @contextlib.asynccontextmanager
    async def reading(cls, url: str, where: str, *, exclusive: bool) -> AsyncIterator[PostgresTables]:
        """Begin a snapshot; `exclusive`: nobody writes into its tables before it is over."""
        from mail_proxy.store.postgres import connected

        async with (
            connected(url, where, patience=PATIENCE) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            if exclusive and (applied := await applied_postgres(connection)):
                await _lock(connection, where, max(applied), "SHARE")
            yield cls(connection, where)

    @classmethod
    @contextlib.asynccontextmanager
    async def filling(cls, url: str, where: str, version: int) -> AsyncIterator[PostgresTables]:
        """Make the schema if there is none, and let nobody else write into its tables until it is filled."""
        from mail_proxy.store.postgres import connected

        async with connected(url, where, patience=PATIENCE) as connection:
            await migrate_postgres(connection, where, upto=version)
            async with connection.transaction():
                await _lock(connection, where, version, "EXCLUSIVE")
                yield cls(connection, where)

    async def columns(self, table: str) -> tuple[str, ...]:
        rows = await self._connection.fetch(SCHEMA["columns"].postgres, table)
        return tuple(row["name"] for row in rows)

    async def count(self, table: str) -> int:
        count: int = await self._connection.fetchval(_count(table))
        return count

    async def read(self, table: str, columns: Sequence[str]) -> Rows:
        return _PostgresRows(await self._connection.cursor(_select(table, columns)))

    async def write(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        with _telling_refusal(self.where, table):
            await self._connection.copy_records_to_table(table, records=rows, columns=list(columns))

    async def last_number(self, table: Table) -> int:
        query = SQL["last_number"]
        params = {"table_name": table.name, "column_name": table.identity}
        number: int | None = await self._connection.fetchval(query.postgres, *query.arguments(params))
        return number or 0

    async def go_on_after(self, table: Table, number: int) -> None:
        query = SQL["go_on_after"]
        params = {"table_name": table.name, "column_name": table.identity, "number": number}
        await self._connection.execute(query.postgres, *query.arguments(params))


class _PostgresRows:
    def __init__(self, cursor: Cursor[asyncpg.Record]) -> None:
        self._cursor = cursor

    async def take(self, count: int) -> Sequence[Values]:
        return [tuple(row) for row in await self._cursor.fetch(count)]


async def _lock(connection: asyncpg.Connection[asyncpg.Record], where: str, version: int, mode: str) -> None:
    """Hold all tables, and wait for those who do so only for a moment."""
    import asyncpg

    names = ", ".join(table.name for table in tables(version))
    await connection.execute(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT}s'")
    try:
        await connection.execute(f"LOCK TABLE {names} IN {mode} MODE")
    except asyncpg.LockNotAvailableError as error:
        raise DatabaseUnavailable(
            f"database {where} is in use: somebody has been changing it for more than {BUSY_TIMEOUT} s"
        ) from error


@contextlib.contextmanager
def _telling_refusal(where: str, table: str) -> Iterator[None]:
    """PostgreSQL is stricter with types than SQLite, and checks what refers to what at once."""
    import asyncpg

    try:
        yield
    except (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, OverflowError, TypeError) as error:
        raise _refused(where, table, error) from error


def _refused(where: str, table: str, error: Exception) -> DatabaseUnusable:
    said = str(error).splitlines()[0]
    return DatabaseUnusable(f"database {where} does not take the rows of the table {table}: {said}")
