"""A copy of a SQLite database in a file that appears whole or not at all, while others write."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.errors import Conflict, DatabaseUnusable, InstanceError, NotFound
from mail_proxy.store.backup import copy_file, whole_file
from mail_proxy.store.integrity import look
from mail_proxy.store.sqlite import SqliteDatabase
from tests.support.everything import damage, files_in
from tests.support.stores import open_bench
from tests.support.works import keys, put


def ignore(_done: int, _total: int) -> None:
    """Nobody looks."""


async def test_a_backup_is_whole_while_others_write(sqlite_url: str, tmp_path: Path) -> None:
    """It is of the moment at which it began, in one private file, however often it is written meanwhile."""
    path, copy = Path(sqlite_url), tmp_path / "copy.db"
    database = await SqliteDatabase.open(path)
    await database.write(put, *(f"before-{i}" for i in range(200)), value="x" * 100_000)
    told: list[tuple[int, int]] = []
    loop = asyncio.get_running_loop()

    def tell(done: int, total: int) -> None:
        told.append((done, total))
        asyncio.run_coroutine_threadsafe(database.write(put, f"later-{len(told)}"), loop).result(30)

    await copy_file(path, copy, tell, replace=False)

    assert len(told) > 1
    assert told[-1][0] == told[-1][1]
    written = await database.read(keys)
    await database.close()
    assert len(written) == 200 + len(told)
    assert files_in(tmp_path) == ["copy.db", path.name]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert (await look(copy, "copy", thorough=True)).problems == ()
    with closing(sqlite3.connect(copy)) as raw:
        assert [row[0] for row in raw.execute("SELECT COUNT(*), MAX(key) FROM settings")] == [200]


async def test_a_taken_name_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    """Unless it may be replaced; the database itself never is."""
    path, taken = Path(sqlite_url), tmp_path / "taken"
    taken.write_text("mine")

    with pytest.raises(Conflict, match="is there already"):
        await copy_file(path, taken, ignore, replace=False)
    with pytest.raises(Conflict, match="is the database itself"):
        await copy_file(path, path, ignore, replace=True)
    assert taken.read_text() == "mine"

    await copy_file(path, taken, ignore, replace=True)
    assert (await look(taken, "copy", thorough=True)).version is not None


async def test_what_is_no_file_stays_what_it_is(sqlite_url: str, tmp_path: Path) -> None:
    """A pipe or a device is not replaced, and a link goes on to lead where it led."""
    pipe, link, there = tmp_path / "pipe", tmp_path / "link", tmp_path / "there"
    os.mkfifo(pipe)
    there.write_text("old")
    link.symlink_to(there)

    with pytest.raises(Conflict, match="is no file that could be replaced"):
        await copy_file(Path(sqlite_url), pipe, ignore, replace=True)
    await copy_file(Path(sqlite_url), link, ignore, replace=True)

    assert pipe.is_fifo()
    assert link.is_symlink()
    assert (await look(there, "copy", thorough=True)).problems == ()


@pytest.mark.parametrize("log", ["-wal", "-journal"])
async def test_a_database_in_use_is_not_replaced(sqlite_url: str, tmp_path: Path, log: str) -> None:
    """Its log would be played into the copy."""
    (tmp_path / f"other.db{log}").write_bytes(b"frames")

    with pytest.raises(Conflict, match="belongs to a database that is in use"):
        await copy_file(Path(sqlite_url), tmp_path / "other.db", ignore, replace=True)


async def test_nothing_is_left_of_one_that_fails(sqlite_url: str, tmp_path: Path) -> None:
    """Neither of what was stopped, nor of a damaged database, nor where nobody may write."""
    async with open_bench(sqlite_url) as bench:
        await bench.add(*(f"m{i}" for i in range(200)), payload=b"x" * 2000)
    path, directory = Path(sqlite_url), tmp_path / "backups"
    directory.mkdir()

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await copy_file(path, directory / "copy.db", stop, replace=False)
    with pytest.raises(InstanceError, match="cannot write"):
        await copy_file(path, directory / "nowhere" / "copy.db", ignore, replace=False)
    damage(path)
    with pytest.raises(DatabaseUnusable, match="is not sound, and was not kept: damaged: "):
        await copy_file(path, directory / "copy.db", ignore, replace=False)

    assert files_in(directory) == []


async def test_what_holds_nothing_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no database"):
        await copy_file(tmp_path / "none.db", tmp_path / "copy.db", ignore, replace=False)
    (tmp_path / "empty.db").touch()
    with pytest.raises(DatabaseUnusable, match="is empty: there is nothing to copy"):
        await copy_file(tmp_path / "empty.db", tmp_path / "copy.db", ignore, replace=False)
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(DatabaseUnusable, match="belongs to another program"):
        await copy_file(tmp_path / "theirs.db", tmp_path / "copy.db", ignore, replace=False)
    assert "copy.db" not in files_in(tmp_path)


def test_a_name_that_is_taken_while_the_file_is_made(tmp_path: Path) -> None:
    """Whoever came first keeps it."""
    place = tmp_path / "place"

    def make() -> None:
        with whole_file(place, replace=False) as part:
            part.write_text("late")
            place.write_text("first")

    with pytest.raises(Conflict, match="is there already"):
        make()
    assert place.read_text() == "first"
    assert files_in(tmp_path) == ["place"]
