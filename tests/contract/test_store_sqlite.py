"""SQLite: durable group commit, in which every unit of work is whole and alone; what a full disk does."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store.database import Call, Many, Work
from mail_proxy.store.migration import migrations
from mail_proxy.store.sqlite import SqliteDatabase
from tests.support.stores import statement
from tests.support.works import COUNT, PUT, Refused, ask, keys, put, put_and_fail


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(Path(sqlite_url))
    yield opened
    await opened.close()


# Durability


@pytest.mark.parametrize(
    ("pragma", "expected"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("query_only", 0)],
)
async def test_the_writer_commits_durably(database: SqliteDatabase, pragma: str, expected: object) -> None:
    """WAL with `synchronous=FULL` (2): a commit is on disk when it returns."""
    [row] = await database.write(ask, f"PRAGMA {pragma}")

    assert row[pragma] == expected


async def test_readers_cannot_write(database: SqliteDatabase) -> None:
    """Whatever a unit of work says that is handed to `read`."""
    with pytest.raises(DatabaseUnavailable, match="is read-only"):
        await database.read(put, "k")


def modes_in(directory: Path) -> dict[str, int]:
    return {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()}


async def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """So are its write-ahead log and shared memory, whatever the umask says."""
    path = tmp_path / "new.db"
    old = os.umask(0)
    try:
        opened = await SqliteDatabase.open(path)
        await opened.migrate()
        modes = modes_in(tmp_path)
        await opened.close()
    finally:
        os.umask(old)

    assert modes == {"new.db": 0o600, "new.db-wal": 0o600, "new.db-shm": 0o600}


async def test_what_was_written_is_there_after_opening_again(sqlite_url: str) -> None:
    """Close commits what waits, and leaves no log behind."""
    opened = await SqliteDatabase.open(Path(sqlite_url))
    waiting = [asyncio.create_task(opened.write(put, f"k{i}")) for i in range(20)]
    await asyncio.sleep(0)
    await opened.close()
    await asyncio.gather(*waiting)

    assert list(modes_in(Path(sqlite_url).parent)) == ["mail_service.db"]
    with closing(sqlite3.connect(sqlite_url)) as raw:
        assert raw.execute("SELECT COUNT(*) FROM settings").fetchone() == (20,)


# Group commit


async def test_writers_at_once_see_each_other_in_turn(database: SqliteDatabase) -> None:
    """Units of work in one commit run one after the other, each on what those before it wrote."""
    counts = await asyncio.gather(*(database.write(put, f"k{i}") for i in range(500)))

    assert counts == list(range(1, 501))


async def test_a_failing_unit_leaves_nothing_and_harms_nobody(database: SqliteDatabase) -> None:
    """Its caller gets what it raised; those before and after it in the same commit are written."""
    results = await asyncio.gather(
        database.write(put, "a", "b"),
        database.write(put_and_fail, "lost"),
        database.write(put, "c"),
        database.write(put, "d", "a"),
        database.write(put, "e"),
        return_exceptions=True,
    )

    assert [type(each).__name__ for each in results] == ["int", "Refused", "int", "IntegrityError", "int"]
    assert await database.read(keys) == ["a", "b", "c", "e"]


async def test_a_failing_statement_in_a_bulk_leaves_nothing(database: SqliteDatabase) -> None:
    """`Many` is whole or not at all, too."""

    def bulk() -> Work[None]:
        yield Many(PUT, [{"key": each, "value": "v"} for each in ("x", "y", "x")])

    results = await asyncio.gather(database.write(bulk), database.write(put, "z"), return_exceptions=True)

    assert isinstance(results[0], sqlite3.IntegrityError)
    assert await database.read(keys) == ["z"]


async def test_when_the_engine_undoes_the_commit_nobody_is_told_of_success(database: SqliteDatabase) -> None:
    """SQLite rolls everything back by itself on some errors, a full disk among them."""

    def undo() -> Work[None]:
        yield Call(PUT, {"key": "same", "value": "v"})
        yield Call(statement("INSERT OR ROLLBACK INTO settings (key, value) VALUES ('same', 'v')"), {})

    results = await asyncio.gather(
        database.write(put, "before"),
        database.write(undo),
        database.write(put, "after"),
        return_exceptions=True,
    )

    assert [isinstance(each, sqlite3.IntegrityError) for each in results] == [True] * 3
    assert await database.read(keys) == []
    assert await database.write(put, "next") == 1


async def test_a_unit_may_catch_nothing_of_another(database: SqliteDatabase) -> None:
    """Cleaning up runs in the failing unit alone, before the next begins."""
    steps: list[str] = []

    def careful(name: str) -> Work[None]:
        try:
            yield Call(PUT, {"key": "same", "value": name})
            steps.append(f"{name} wrote")
        finally:
            steps.append(f"{name} ends")

    await asyncio.gather(
        database.write(careful, "one"), database.write(careful, "two"), return_exceptions=True
    )

    assert steps == ["one wrote", "one ends", "two ends"]


async def test_a_cancelled_caller_harms_nobody(database: SqliteDatabase) -> None:
    """Its work may be done or not, but whole; others' is done."""
    tasks = [asyncio.create_task(database.write(put, f"k{i}")) for i in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(each, asyncio.CancelledError) for each in results] == [True, False] * 5
    stored = await database.read(keys)
    assert {f"k{i}" for i in range(1, 10, 2)} <= set(stored) <= {f"k{i}" for i in range(10)}
    assert await database.write(put, "next") == len(stored) + 1


async def test_a_cancelled_reader_gives_its_connection_back(database: SqliteDatabase) -> None:
    """However many readers go away, the next is served."""
    for _ in range(5):
        task = asyncio.create_task(database.read(keys))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert await asyncio.gather(*(database.read(keys) for _ in range(5))) == [[]] * 5


# Readers


async def test_readers_see_only_what_is_committed(database: SqliteDatabase) -> None:
    """A unit of work that is under way is not seen, not even in part."""
    seen: list[list[str]] = []
    loop = asyncio.get_running_loop()

    def slow() -> Work[None]:
        yield Call(PUT, {"key": "half", "value": "v"})
        # From the writer's thread: wait for a reader that began after the first half was written.
        seen.append(asyncio.run_coroutine_threadsafe(database.read(keys), loop).result(10))
        yield Call(PUT, {"key": "whole", "value": "v"})

    await database.write(slow)

    assert seen == [[]]
    assert await database.read(keys) == ["half", "whole"]


async def test_all_statements_of_a_reader_see_the_same(database: SqliteDatabase) -> None:
    """What is committed between two of them is not seen by the second."""
    loop = asyncio.get_running_loop()

    def twice() -> Work[list[int]]:
        first = yield Call(COUNT, {})
        asyncio.run_coroutine_threadsafe(database.write(put, "between"), loop).result(10)
        second = yield Call(COUNT, {})
        return [first[0]["n"], second[0]["n"]]

    assert await database.read(twice) == [0, 0]
    assert await database.read(keys) == ["between"]


async def test_a_failing_reader_spoils_nothing(database: SqliteDatabase) -> None:
    """Its connection serves the next."""

    def fail() -> Work[None]:
        yield Call(COUNT, {})
        raise Refused

    for _ in range(5):
        with pytest.raises(Refused):
            await database.read(fail)
    assert await database.read(keys) == []


# Many programs at once


async def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """SQLite refuses some of them at once while they switch it to WAL: they ask again."""
    for turn in range(100):
        opened = await asyncio.gather(*(SqliteDatabase.open(tmp_path / f"{turn}.db") for _ in range(4)))
        steps = await asyncio.gather(*(each.migrate() for each in opened))
        for each in opened:
            await each.close()
        assert sum(steps) == len(migrations())


@pytest.mark.parametrize("hold", ["BEGIN EXCLUSIVE", "BEGIN; SELECT name FROM sqlite_master"])
async def test_a_file_that_another_keeps_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: str
) -> None:
    """After the time-out for it, in one line; whether the other one writes, or reads without WAL."""
    monkeypatch.setattr("mail_proxy.store.sqlite.BUSY_TIMEOUT", 0.2)
    with closing(sqlite3.connect(tmp_path / "theirs.db", isolation_level=None)) as other:
        for each in hold.split("; "):
            other.execute(each).fetchall()

        with pytest.raises(DatabaseUnavailable, match="is locked by another program"):
            await SqliteDatabase.open(tmp_path / "theirs.db")
