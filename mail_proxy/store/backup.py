"""A SQLite file that appears whole or not at all, and a copy of a database in such a file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from mail_proxy.errors import Conflict, DatabaseUnusable, NotFound
from mail_proxy.files import reporting, sync_directory
from mail_proxy.store.errors import translating_sqlite
from mail_proxy.store.integrity import damages, read_only
from mail_proxy.store.migration import applied_sqlite, refuse_foreign, tables
from mail_proxy.store.queries import load
from mail_proxy.threads import in_own_thread

SQL = load("integrity")
NUMBERS = load("transfer")

PAGES = 2000
"""Copied at a time: 8 MB."""

GAP = 100_000_000
"""Numbers that a backup leaves out: those that the original has given to its rows since.

Applications know events by their numbers: what came after the backup must not be taken for what comes after
its return.
"""

Tell = Callable[[int, int], None]
"""To be told how much is done, of how much."""


async def copy_file(source: Path, target: Path, tell: Tell, *, replace: bool) -> None:
    """Copy a database as it is at this moment into a new file, while others go on writing.

    Raises `NotFound` when there is no database, `Conflict` when `target` is taken (`replace`: is itself a
    database in use), `DatabaseUnusable` for what is no sound database of ours, and `InstanceError`.
    """
    _refuse_unfit(source, target)
    with whole_file(target, replace=replace) as part:
        await in_own_thread(partial(_copy, source, target, part, tell), "copy the database")


def _refuse_unfit(source: Path, target: Path) -> None:
    if not source.exists():
        raise NotFound("database", str(source))
    if target.exists() and target.samefile(source):
        raise Conflict(f"{target} is the database itself: give another name")


def _copy(source: Path, target: Path, part: Path, tell: Tell) -> None:
    with (
        translating_sqlite(str(source)),
        closing(read_only(source)) as raw,
        closing(new_database(part)) as copy,
    ):
        refuse_foreign(raw, str(source))
        if not applied_sqlite(raw):
            raise DatabaseUnusable(f"database {source} is empty: there is nothing to copy")
        # Of a moment that this connection holds on to, the steps go on where they were, whoever writes.
        raw.execute("BEGIN")
        raw.execute(SQL["tables"].sqlite).fetchall()
        with translating_sqlite(str(target)):
            raw.backup(copy, pages=PAGES, progress=lambda _, left, total: tell(total - left, total))
            _leave_gap(copy)
            finish(copy, f"the copy of {source}")


def _leave_gap(raw: sqlite3.Connection) -> None:
    for table in tables(max(applied_sqlite(raw))):
        if table.identity is not None:
            names = {"table_name": table.name}
            last = raw.execute(NUMBERS["last_number"].sqlite, names).fetchone()
            number = GAP + (last[0] if last else 0)
            raw.execute(NUMBERS["go_on_after"].sqlite, names | {"number": number})


def new_database(path: Path) -> sqlite3.Connection:
    """Open a file to fill it: as long as it is not `finish`ed it is worth nothing, and is not kept safe."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode=OFF")
    raw.execute("PRAGMA synchronous=OFF")
    return raw


def finish(raw: sqlite3.Connection, what: str) -> None:
    """Leave all in one file, and read it through; raise `DatabaseUnusable` for one that is damaged."""
    raw.execute("PRAGMA journal_mode=DELETE")
    for problem in damages(raw):
        raise DatabaseUnusable(f"{what} is not sound, and was not kept: {problem}")


@contextlib.contextmanager
def whole_file(path: Path, *, replace: bool) -> Iterator[Path]:
    """Yield a private file that takes the place of `path`, safely on the disk, when the block ends well.

    Raises `Conflict` when the place is taken, `InstanceError` when it cannot be written to.
    """
    if replace:
        path = path.resolve()  # a link goes on to lead there
    _refuse_taken(path, replace=replace)
    with reporting(f"cannot write {path}"):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(descriptor)
    part = Path(name)
    try:
        yield part
        with reporting(f"cannot write {path}"):
            _put_in_place(part, path, replace=replace)
    finally:
        for beside in ("", "-journal", "-wal", "-shm"):
            Path(name + beside).unlink(missing_ok=True)


def _put_in_place(part: Path, path: Path, *, replace: bool) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    _refuse_taken(path, replace=replace)
    if not replace:  # the name is taken first, so that a file of somebody else is never replaced
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    part.replace(path)
    sync_directory(path.parent)


def _refuse_taken(path: Path, *, replace: bool) -> None:
    """A log beside the name would be taken for the new file's own, and be written into it."""
    if not replace and os.path.lexists(path):
        raise Conflict(f"{path} is there already: give another name")
    if path.exists() and not path.is_file():  # a device, or a pipe, would be gone
        raise Conflict(f"{path} is no file that could be replaced: give another name")
    for beside in (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")):
        if beside.exists() and beside.stat().st_size:
            raise Conflict(f"{beside} belongs to a database that is in use: give another name than {path}")
