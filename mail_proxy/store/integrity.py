"""What state a database is in, by looking at it alone: nothing is made, migrated or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable
from mail_proxy.store.errors import translating_sqlite
from mail_proxy.store.migration import (
    LEDGER_COLUMNS,
    applied_postgres,
    applied_sqlite,
    current_version,
    differing,
    migrations,
    refuse_foreign,
    tables,
)
from mail_proxy.store.queries import load
from mail_proxy.threads import in_own_thread

SQL = load("integrity")

BUSY_TIMEOUT = 10.0
OLDEST_POSTGRES = 13
LARGE = 2**30
"""Bytes from which on the indexes of a file are not compared with its tables: that would take minutes."""

MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """A database as it was found; `version` is None of one that holds nothing yet, be it not there at all.

    `server` names the engine with its version, `newest` is the schema version this program knows, `missing`
    are the steps to it, `problems` what is wrong, a sentence each.
    """

    where: str
    dialect: str
    server: str
    version: int | None
    newest: int
    missing: tuple[str, ...]
    problems: tuple[str, ...]


async def look(target: str | Path, where: str, *, thorough: bool) -> DatabaseState:
    """Look at a database; `thorough`: read all of a file for damages.

    Raises `DatabaseUnavailable` when it cannot be reached or read, and `DatabaseUnusable` when it is no
    database, or another program's.
    """
    if isinstance(target, Path):
        look_at = partial(_look_sqlite, target, where, thorough=thorough)
        return await in_own_thread(look_at, "look at the database")
    return await _look_postgres(target, where)


def _look_sqlite(path: Path, where: str, *, thorough: bool) -> DatabaseState:
    server = f"SQLite {sqlite3.sqlite_version}"
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return _state(where, "sqlite", server, {}, ())
    except OSError as error:
        raise DatabaseUnavailable(f"database {where} cannot be looked at: {error.strerror}") from error
    with translating_sqlite(where), closing(read_only(path)) as raw:
        refuse_foreign(raw, where)
        applied = applied_sqlite(raw)
        names = {row[0] for row in raw.execute(SQL["tables"].sqlite)}
        problems = [*_absent(applied, names)]
        if thorough:
            problems += damages(raw, is_large=size >= LARGE)
    return _state(where, "sqlite", server, applied, problems)


def read_only(path: Path) -> sqlite3.Connection:
    """Open a file that is there, for reading alone."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)


def damages(raw: sqlite3.Connection, *, is_large: bool = False) -> Iterator[str]:
    """Read all of the file: its pages and rows, unless it is large its indexes, and what refers to what."""
    check = "quick_check" if is_large else "integrity_check"
    try:
        for (line,) in raw.execute(f"PRAGMA {check}({MOST_PROBLEMS})").fetchall():
            if line != "ok":
                yield from (f"damaged: {part}" for part in line.splitlines())
        orphans: dict[tuple[str, str], int] = {}
        for child, _row, parent, _number in raw.execute("PRAGMA foreign_key_check"):
            orphans[child, parent] = orphans.get((child, parent), 0) + 1
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        yield f"damaged: {error}"
        return
    for (child, parent), count in orphans.items():
        yield f"{count} rows of {child} refer to rows of {parent} that are not there"


async def _look_postgres(url: str, where: str) -> DatabaseState:
    from mail_proxy.store.postgres import connected

    async with connected(url, where) as connection:
        version = connection.get_server_version()
        names = {row["name"] for row in await connection.fetch(SQL["tables"].postgres)}
        ours = {table.name for table in tables()}
        columns = set()
        if "schema_version" in names:
            rows = await connection.fetch(SQL["columns"].postgres, "schema_version")
            columns = {row["name"] for row in rows}
        if not columns >= LEDGER_COLUMNS and names & (ours | {"schema_version"}):
            raise DatabaseUnusable(
                f"database {where} holds tables of another program: give mail-proxy one of its own"
            )
        applied = await applied_postgres(connection)
    problems = [*_absent(applied, names)]
    if version.major < OLDEST_POSTGRES:
        problems.append(f"PostgreSQL {version.major} is too old: mail-proxy needs {OLDEST_POSTGRES} or newer")
    return _state(where, "postgres", f"PostgreSQL {version.major}.{version.micro}", applied, problems)


def _absent(applied: Mapping[int, str], names: set[str]) -> Iterator[str]:
    """Name the tables that the steps have made and that are not there any more."""
    for table in tables(max(applied, default=0)):
        if table.name not in names:
            yield f"the table {table.name} is missing"


def _state(
    where: str, dialect: str, server: str, applied: dict[int, str], problems: list[str] | tuple[str, ...]
) -> DatabaseState:
    others = [
        f"migration {step.version} differs from this program's: another build has made this database"
        for step in differing(applied)
    ]
    return DatabaseState(
        where=where,
        dialect=dialect,
        server=server,
        version=max(applied, default=None),
        newest=current_version(),
        missing=tuple(step.title for step in migrations() if step.version not in applied),
        problems=(*others, *problems),
    )
