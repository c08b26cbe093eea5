"""SQLite when something is wrong: a full disk, a lock, a damaged file, a closed database."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable, InvalidInput
from mail_proxy.store.sqlite import SqliteDatabase
from tests.support.works import ask, keys, put


@pytest.fixture
async def database(sqlite_url: str) -> AsyncIterator[SqliteDatabase]:
    opened = await SqliteDatabase.open(Path(sqlite_url))
    yield opened
    await opened.close()


async def test_a_closed_database_says_so(sqlite_url: str) -> None:
    """Writing and reading; closing twice is fine."""
    opened = await SqliteDatabase.open(Path(sqlite_url))
    await opened.close()
    await opened.close()

    for asked in (opened.write(put, "k"), opened.read(keys)):
        with pytest.raises(DatabaseUnavailable, match=r"mail_service\.db is closed"):
            await asked


async def test_a_full_disk_fails_all_who_wait_and_passes(database: SqliteDatabase, sqlite_url: str) -> None:
    """Nobody is told of success, nothing is written in part, and once there is room all works again."""
    [row] = await database.write(ask, "PRAGMA page_count")
    await database.write(ask, f"PRAGMA max_page_count={row['page_count'] + 2}")

    results = await asyncio.gather(
        *(database.write(put, f"k{i}", value="x" * 200_000) for i in range(4)), return_exceptions=True
    )

    assert {str(each) for each in results} == {f"database {sqlite_url} cannot grow: the disk is full"}
    assert all(isinstance(each, DatabaseUnavailable) for each in results)
    assert await database.read(keys) == []
    await database.write(ask, "PRAGMA max_page_count=1000000")
    assert await database.write(put, "k", value="x" * 200_000) == 1


LIMITED = """
import asyncio, resource, signal, sys
from pathlib import Path
from mail_proxy.errors import DatabaseUnavailable
from mail_proxy.store.database import Call
from mail_proxy.store.sqlite import SqliteDatabase
from tests.support.stores import statement

PUT = statement("INSERT INTO settings (key, value) VALUES (:key, :value)")

def put(key):
    yield Call(PUT, {"key": key, "value": "x" * 100_000})

async def main(path):
    database = await SqliteDatabase.open(path)
    await database.write(put, "before")
    full = Path(f"{path}-wal").stat().st_size + 50_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    failed = await asyncio.gather(*(database.write(put, f"k{i}") for i in range(3)), return_exceptions=True)
    print(sorted({f"{type(each).__name__}: {each}" for each in failed}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await database.write(put, "after")
    await database.close()

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_disk_that_fills_up_at_the_commit(sqlite_url: str) -> None:
    """The system refuses the write: all who wait hear of it, what was there before stays, work goes on."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, sqlite_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.stderr == ""
    assert done.stdout.startswith(f"['DatabaseUnavailable: database {sqlite_url} c")
    with closing(sqlite3.connect(sqlite_url)) as raw:
        assert raw.execute("SELECT key FROM settings ORDER BY key").fetchall() == [("after",), ("before",)]
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_lock_held_by_another_program_is_said(database: SqliteDatabase, sqlite_url: str) -> None:
    """And when it is gone, work goes on."""
    await database.write(ask, "PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailable, match="is locked by another program"):
            await database.write(put, "k")
        assert await database.read(keys) == []  # readers do not wait for writers
        other.execute("ROLLBACK")

    assert await database.write(put, "k") == 1


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
async def test_text_that_is_none_is_refused(database: SqliteDatabase, text: str) -> None:
    """A half of a surrogate pair, as a shell may hand it in."""
    with pytest.raises(InvalidInput, match="what no database can store"):
        await database.write(put, text)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"this is not a database, but a text that is long enough to be read as one" * 9, DatabaseUnusable,
         "is not a SQLite database"),
        (None, DatabaseUnavailable, "cannot be opened: check that the directory exists and may be written"),
    ],
)  # fmt: skip
async def test_a_file_that_cannot_be_used(
    tmp_path: Path, content: bytes | None, error: type[Exception], words: str
) -> None:
    """One line that names the file and what to do."""
    path = tmp_path / "x.db" if content else tmp_path / "nowhere" / "x.db"
    if content:
        path.write_bytes(content)

    with pytest.raises(error) as caught:
        await SqliteDatabase.open(path)

    assert str(caught.value) == f"database {path} {words}"


async def test_a_damaged_file_is_refused_in_one_line(sqlite_url: str, tmp_path: Path) -> None:
    """Pages overwritten by something else."""
    path = tmp_path / "damaged.db"
    shutil.copyfile(sqlite_url, path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 8192))

    with pytest.raises(DatabaseUnusable) as caught:
        await use(path)

    assert str(caught.value) == (
        f"database {path} is damaged: restore a backup, or try 'sqlite3 FILE .recover'"
    )


async def use(path: Path) -> None:
    opened = await SqliteDatabase.open(path)
    try:
        await opened.migrate()
        await opened.write(put, "k")
        await opened.read(keys)
    finally:
        await opened.close()


async def test_nobody_else_listens_to_a_file(database: SqliteDatabase) -> None:
    """Notifying is no work, and hearing waits without end."""
    await database.notify("text")
    listening = asyncio.create_task(database.listen(lambda _: None))
    await asyncio.sleep(0)

    assert not listening.done()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
