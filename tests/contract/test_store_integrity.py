"""What state a database is in, told by looking at it alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable
from mail_proxy.store.integrity import DatabaseState, look
from mail_proxy.store.migration import current_version, migrate_sqlite, migrations
from tests.support.everything import damage, files_in
from tests.support.postgres import PostgresServer
from tests.support.stores import Bench, open_bench, open_store, target_of

STEPS = [f"{step.version:04}_{step.name}" for step in migrations()]


async def state_of(url: str, *, thorough: bool = True) -> DatabaseState:
    return await look(target_of(url), url, thorough=thorough)


async def test_a_sound_database(bench: Bench) -> None:
    """Of the newest version, with nothing missing and nothing wrong."""
    await bench.add("m")

    found = await state_of(bench.url)

    assert (found.where, found.dialect) == (bench.url, bench.store.database.dialect)
    assert found.server.startswith(("SQLite 3.", "PostgreSQL "))
    assert (found.version, found.newest) == (current_version(), current_version())
    assert (found.missing, found.problems) == ((), ())


async def test_one_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    """Nor anything beside it."""
    found = await state_of(str(tmp_path / "none.db"))

    assert (found.version, list(found.missing), found.problems) == (None, STEPS, ())
    assert files_in(tmp_path) == []


async def test_an_empty_one_stays_empty(postgres_server: PostgresServer) -> None:
    """No table is made."""
    url = await postgres_server.create_database()
    for _ in range(2):
        found = await state_of(url)
        assert (found.version, list(found.missing), found.problems) == (None, STEPS, ())
    await postgres_server.drop_database(url)


async def test_an_older_one_stays_older(tmp_path: Path) -> None:
    """What is missing is told, and not done."""
    path = tmp_path / "older.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        migrate_sqlite(raw, "older", upto=2)

    for _ in range(2):
        found = await state_of(str(path))
        assert (found.version, list(found.missing), found.problems) == (2, STEPS[2:], ())


async def test_a_newer_one_is_told_as_such(database_url: str) -> None:
    """That is no damage: whoever wrote it can read it."""
    newer = current_version() + 1
    async with open_store(database_url) as store:
        await Bench(store, database_url, 0).execute(
            f"INSERT INTO schema_version VALUES ({newer}, 'later', 'x', 0)"
        )

    found = await state_of(database_url)

    assert (found.version, found.missing, found.problems) == (newer, (), ())


async def test_one_of_another_build_is_told(database_url: str) -> None:
    async with open_store(database_url) as store:
        await Bench(store, database_url, 0).execute(
            "UPDATE schema_version SET checksum = 'other' WHERE version = 1"
        )

    assert (await state_of(database_url)).problems == (
        "migration 1 differs from this program's: another build has made this database",
    )


async def test_a_table_that_is_gone_is_missed(database_url: str) -> None:
    async with open_store(database_url) as store:
        await Bench(store, database_url, 0).execute("DROP TABLE send_log")

    assert (await state_of(database_url)).problems == ("the table send_log is missing",)


async def test_tables_of_another_program_are_refused(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """With one line that says so; on a shared PostgreSQL only those that bear our names."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(DatabaseUnusable, match="belongs to another program"):
        await state_of(str(path))

    url = await postgres_server.create_database()
    async with open_store(url) as store:
        bench = Bench(store, url, 0)
        await bench.execute("CREATE TABLE bookmarks (url TEXT)")
        assert (await state_of(url)).version is None
        await bench.execute("CREATE TABLE tenants (name TEXT)")
        with pytest.raises(DatabaseUnusable, match="holds tables of another program"):
            await state_of(url)
    await postgres_server.drop_database(url)


async def test_what_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 500)

    with pytest.raises(DatabaseUnusable, match=r"letter\.txt is not a SQLite database"):
        await state_of(str(path))


async def test_one_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="is not available"):
        await state_of("postgresql://postgres@127.0.0.1:1/x")
    with pytest.raises(DatabaseUnusable, match="is not valid"):
        await look("postgresql://[", "postgresql://[", thorough=True)
    (tmp_path / "dir.db").mkdir()
    with pytest.raises(DatabaseUnavailable, match=r"dir\.db cannot be"):
        await state_of(str(tmp_path / "dir.db"))


async def test_a_damaged_file_is_told_only_by_reading_it_through(sqlite_url: str) -> None:
    """A page in the middle was overwritten."""
    async with open_bench(sqlite_url) as bench:
        await bench.add(*(f"m{i}" for i in range(200)), payload=b"x" * 2000)
    damage(Path(sqlite_url))

    assert (await state_of(sqlite_url, thorough=False)).problems == ()
    problems = (await state_of(sqlite_url)).problems
    assert problems
    assert all(each.startswith("damaged: ") for each in problems)


async def test_what_refers_to_nothing_is_counted(sqlite_url: str) -> None:
    with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as raw:
        raw.executescript("INSERT INTO suspensions VALUES ('a', '*', 1), ('b', '*', 1)")

    assert (await state_of(sqlite_url)).problems == (
        "2 rows of suspensions refer to rows of tenants that are not there",
    )


async def test_nobody_is_held_up_by_it(sqlite_url: str) -> None:
    """Nor does it wait for who writes."""
    async with open_bench(sqlite_url) as bench:
        with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as raw:
            raw.execute("BEGIN IMMEDIATE")
            assert (await state_of(sqlite_url)).problems == ()
            raw.execute("ROLLBACK")
        await bench.add("m")
