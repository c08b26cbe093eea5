"""SQLite: one writer connection with group commit, and readers apart.

Every commit is durable (WAL, ``synchronous=FULL``, docs/adr/0004). While one commit waits for the disk,
the units of work that arrive meanwhile gather, and the next commit takes them all: under load the cost
of an fsync is shared by many, and an idle database answers at once. The writer's thread goes from one group
to the next by itself: the event loop may be busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import aiosqlite

from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store import migration
from mail_proxy.store.database import Many, Row, Work
from mail_proxy.store.errors import translating_sqlite

P = ParamSpec("P")
T = TypeVar("T")

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process that holds the write lock."""

READERS = 2
GROUP = 200
"""Units of work at most in one commit, so that none waits long for the others."""


class _Job:
    """A unit of work waiting for its commit; `future` is resolved after it."""

    __slots__ = ("error", "future", "make", "result")

    def __init__(self, make: Callable[[], Work[object]], future: asyncio.Future[object]) -> None:
        self.make = make
        self.future = future
        self.result: object = None
        self.error: Exception | None = None

    def resolve(self) -> None:
        """Tell the caller, unless it went away meanwhile (the work is done all the same)."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class _Connection(aiosqlite.Connection):
    """aiosqlite's thread and queue, with a unit of work instead of a statement as the thing that hops."""

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        result: T = await self._execute(function, self._conn)  # type: ignore[no-untyped-call]
        return result

    async def join(self) -> None:
        """Wait for the thread of a connection that failed to open: it would miss the loop if that closed."""
        await asyncio.to_thread(self._thread.join)


class SqliteDatabase:
    """See `Database`. Open with `SqliteDatabase.open`; always close."""

    dialect = "sqlite"

    _writer: _Connection
    _committer: asyncio.Task[None]

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: deque[_Job] = deque()
        self._work_arrived = asyncio.Event()
        self._closing = False
        self._readers: asyncio.Queue[_Connection] = asyncio.Queue()
        self._all: list[_Connection] = []

    @classmethod
    async def open(cls, path: Path, *, readers: int = READERS) -> SqliteDatabase:
        """Open the file, made if it is not there."""
        self = cls(path)
        try:
            self._writer = await self._connect()
            for _ in range(readers):
                self._readers.put_nowait(await self._connect(read_only=True))
        except BaseException:
            await self._close_connections()
            raise
        self._committer = asyncio.create_task(self._commit_loop(), name="sqlite committer")
        return self

    async def read(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        async with self._reader() as connection:
            return await connection.run(lambda raw: _read(raw, work(*args, **kwargs)))

    async def snapshot(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.read(work, *args, **kwargs)

    async def write(self, work: Callable[P, Work[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        self._refuse_if_closed()
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(lambda: work(*args, **kwargs), future))
        self._work_arrived.set()
        with self._translated():
            return await future  # type: ignore[return-value]  # the job's result is work's own T

    async def migrate(self, took: Callable[[str], None] | None = None) -> int:
        with self._translated():
            return await self._writer.run(
                lambda raw: migration.migrate_sqlite(raw, str(self._path), took=took)
            )

    async def notify(self, text: str) -> None:
        """There is one server to a file: nobody else listens."""

    async def listen(self, heard: Callable[[str], None]) -> None:  # noqa: ARG002 - there is nothing to hear
        """Wait, for ever."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Commit what waits, then close."""
        if self._closing:
            return
        self._closing = True
        self._work_arrived.set()
        await self._committer
        await self._close_connections()

    @contextlib.asynccontextmanager
    async def _reader(self) -> AsyncIterator[_Connection]:
        connection = await self._readers.get()
        try:
            self._refuse_if_closed()
            with self._translated():
                yield connection
        finally:
            self._readers.put_nowait(connection)

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise DatabaseUnavailable(f"database {self._path} is closed")

    async def _connect(self, *, read_only: bool = False) -> _Connection:
        connection = _Connection(lambda: _configured(self._path, read_only=read_only), iter_chunk_size=64)
        try:
            with self._translated():
                await connection
        except BaseException:
            await connection.join()
            raise
        self._all.append(connection)
        return connection

    async def _close_connections(self) -> None:
        for connection in reversed(self._all):
            await connection.close()

    async def _commit_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while self._jobs or not self._closing:
            if not self._jobs:
                self._work_arrived.clear()
                await self._work_arrived.wait()
                continue
            try:
                await self._writer.run(partial(_commit_all, jobs=self._jobs, loop=loop))
            except Exception as error:  # noqa: BLE001 - whoever asked gets it; the loop serves the next
                _fail_all(self._jobs, error)

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translating_sqlite(str(self._path))


def _configured(path: Path, *, read_only: bool) -> sqlite3.Connection:
    _create_private(path)
    raw = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, cached_statements=256)
    try:
        raw.row_factory = sqlite3.Row
        migration.refuse_foreign(raw, str(path))  # before the file is switched to WAL
        _switch_to_wal(raw)
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")
        raw.execute("PRAGMA temp_store=MEMORY")
        raw.execute("PRAGMA cache_size=-16384")
        raw.execute(f"PRAGMA query_only={int(read_only)}")
    except BaseException:
        raw.close()
        raise
    return raw


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Try again when refused: of several who open a new file, SQLite turns some away without waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - not a secret


def _create_private(path: Path) -> None:
    """Make a file that is not there yet, for its owner alone; its WAL inherits the mode."""
    with contextlib.suppress(OSError):  # it exists, or SQLite says better what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _drive(raw: sqlite3.Connection, work: Work[T]) -> T:
    """Run a unit of work to its end, handing it the rows of each statement."""
    rows: Sequence[Row] = ()
    try:
        statement = next(work)
        while True:
            if isinstance(statement, Many):
                rows = _repeat(raw, statement)
            else:
                rows = raw.execute(statement.query.sqlite, statement.params).fetchall()
            statement = work.send(rows)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        work.close()


def _repeat(raw: sqlite3.Connection, many: Many) -> Sequence[Row]:
    """Run a statement for each row; one with a row of VALUES for several rows at once.

    With each statement Python hands its lock to the event loop's thread and has to wait until it comes back.
    """
    in_bulk = many.query.in_bulk
    if in_bulk is None:
        raw.executemany(many.query.sqlite, many.rows)
        return ()
    rows: list[Row] = []
    for text, arguments in in_bulk.parts(many.rows, "?"):
        rows += raw.execute(text, arguments).fetchall()
    return rows


def _read(raw: sqlite3.Connection, work: Work[T]) -> T:
    """Give all statements of the work the same snapshot."""
    raw.execute("BEGIN")
    try:
        return _drive(raw, work)
    finally:
        if raw.in_transaction:  # an I/O error ends it by itself
            raw.execute("ROLLBACK")


def _commit_all(raw: sqlite3.Connection, jobs: deque[_Job], loop: asyncio.AbstractEventLoop) -> None:
    """Commit group after group until nothing waits, and tell whoever asked."""
    while jobs:
        group = [jobs.popleft() for _ in range(min(GROUP, len(jobs)))]
        try:
            _commit(raw, group)
        except Exception as error:  # noqa: BLE001 - whoever asked gets it
            for job in group:
                job.error = error
        loop.call_soon_threadsafe(_resolve_all, group)
        del group  # the thread waits here for others, and is not to keep what they hold


def _resolve_all(group: list[_Job]) -> None:
    for job in group:
        job.resolve()


def _fail_all(jobs: deque[_Job], error: Exception) -> None:
    while jobs:
        job = jobs.popleft()
        job.error = error
        job.resolve()


def _commit(raw: sqlite3.Connection, group: list[_Job]) -> None:
    """Run each job in a savepoint of its own and commit all that succeeded at once."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        if len(group) == 1:
            [job] = group
            job.result = _drive(raw, job.make())
        else:
            for job in group:
                _in_savepoint(raw, job)
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:
            raw.execute("ROLLBACK")
        raise


def _in_savepoint(raw: sqlite3.Connection, job: _Job) -> None:
    raw.execute("SAVEPOINT job")
    try:
        job.result = _drive(raw, job.make())
    except Exception as error:  # a job's failure is its own, the others commit
        if not raw.in_transaction:  # a full disk rolls back everything by itself
            raise
        raw.execute("ROLLBACK TO job")
        job.error = error
    raw.execute("RELEASE job")
