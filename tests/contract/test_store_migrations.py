"""Schema versions: made from nothing, taken once, and a schema that is not ours is left alone."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from mail_proxy.errors import DatabaseUnusable
from mail_proxy.store.migration import current_version, migrations
from mail_proxy.store.store import open_database
from tests.support.postgres import PostgresServer
from tests.support.stores import target_of
from tests.support.works import ask

ROOT = Path(__file__).parents[2]
LOCK = 7_246_245
"""What nodes of every version take before a step."""

MIGRATE = """
import asyncio, sys
from pathlib import Path
from mail_proxy.store.store import open_database

async def main(url):
    target = url if "://" in url else Path(url)
    async with open_database(target, url) as database:
        print(await database.migrate())

asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(params=["sqlite", "postgres"])
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A database with nothing in it, not even our schema."""
    if request.param == "sqlite":
        yield str(tmp_path / "empty.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    dsn = await server.create_database()
    yield dsn
    await server.drop_database(dsn)


async def migrate(url: str) -> int:
    async with open_database(target_of(url), url) as database:
        return await database.migrate()


async def execute(url: str, *statements: str) -> None:
    async with open_database(target_of(url), url) as database:
        for sql in statements:
            await database.write(ask, sql)


async def versions(url: str) -> list[tuple[int, str]]:
    async with open_database(target_of(url), url) as database:
        rows = await database.read(ask, "SELECT version, name FROM schema_version ORDER BY version")
        return [(row["version"], row["name"]) for row in rows]


async def test_an_empty_database_gets_the_schema(empty_url: str) -> None:
    """Every step is taken and recorded; the second time there is nothing to do."""
    steps = migrations()

    assert await migrate(empty_url) == len(steps)
    assert await versions(empty_url) == [(step.version, step.name) for step in steps]
    assert await migrate(empty_url) == 0


async def test_many_tasks_take_each_step_once(empty_url: str) -> None:
    """Connections of their own, all at once."""
    taken = await asyncio.gather(*(migrate(empty_url) for _ in range(6)))

    assert sum(taken) == len(migrations())


def test_many_processes_take_each_step_once(empty_url: str) -> None:
    """As when several nodes, or commands, start together."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, empty_url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=60) for process in started]

    assert [error for _, error in answers] == [""] * 4
    assert sum(int(out) for out, _ in answers) == len(migrations())


async def test_a_newer_schema_is_refused(empty_url: str) -> None:
    """The line says which version there is, which one is known, and what to do."""
    await migrate(empty_url)
    newer = current_version() + 3
    await execute(empty_url, f"INSERT INTO schema_version VALUES ({newer}, 'later', 'x', 0)")

    with pytest.raises(DatabaseUnusable) as caught:
        await migrate(empty_url)

    assert str(caught.value) == (
        f"database {empty_url} has schema version {newer}, this mail-proxy knows up to {current_version()}: "
        "it was written by a newer version; upgrade mail-proxy"
    )


async def test_a_newer_database_file_is_left_alone(tmp_path: Path) -> None:
    """Not a byte of it is changed."""
    path = tmp_path / "newer.db"
    await migrate(str(path))
    await execute(str(path), f"INSERT INTO schema_version VALUES ({current_version() + 1}, 'later', 'x', 0)")
    before = digest(path)

    with pytest.raises(DatabaseUnusable):
        await migrate(str(path))

    assert digest(path) == before


async def test_an_edited_migration_is_noticed(empty_url: str) -> None:
    """A database made by a build whose steps were others is not this program's."""
    await migrate(empty_url)
    await execute(empty_url, "UPDATE schema_version SET checksum = 'other' WHERE version = 1")

    with pytest.raises(DatabaseUnusable, match="was made by another build: migration 1 differs"):
        await migrate(empty_url)


@pytest.mark.parametrize(
    "table", ["schema_version (id INTEGER)", "messages (id INTEGER)", "tenants (name TEXT)"]
)
async def test_tables_of_another_program_are_refused(empty_url: str, table: str) -> None:
    """Even with a name of ours; nothing of theirs is changed, nothing of ours is left."""
    if "://" in empty_url:
        await execute(empty_url, f"CREATE TABLE {table}")
    else:
        with closing(sqlite3.connect(empty_url)) as raw:
            raw.execute(f"CREATE TABLE {table}")

    with pytest.raises(DatabaseUnusable, match="another program"):
        await migrate(empty_url)

    assert await tables(empty_url) == [table.partition(" ")[0]]


async def tables(url: str) -> list[str]:
    if "://" not in url:
        with closing(sqlite3.connect(url)) as raw:
            return [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    async with open_database(url, url) as database:
        rows = await database.read(ask, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [row["tablename"] for row in rows]


async def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    """Not a byte of it is changed: not even the journal mode."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    before = digest(path)

    with pytest.raises(DatabaseUnusable) as caught:
        await migrate(str(path))

    assert str(caught.value) == (
        f"database {path} belongs to another program: it has tables, but none of ours"
    )
    assert digest(path) == before
    assert [each.name for each in listing(tmp_path)] == ["theirs.db"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def listing(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


async def test_other_tables_beside_ours_are_no_harm(postgres_url: str) -> None:
    """A PostgreSQL database may be shared, as long as the names differ."""
    await execute(postgres_url, "CREATE TABLE bookmarks (url TEXT)")

    assert await migrate(postgres_url) == 0


async def test_an_up_to_date_schema_is_seen_without_a_lock(sqlite_url: str) -> None:
    """A command that only reads does not wait for whoever writes."""
    async with open_database(Path(sqlite_url), sqlite_url) as database:
        with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await asyncio.wait_for(database.migrate(), 60) == 0
            other.execute("ROLLBACK")


async def test_a_step_may_take_longer_than_other_statements(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large table is indexed for minutes, while other nodes wait to see it done."""
    monkeypatch.setattr("mail_proxy.store.postgres.COMMAND_TIMEOUT", 1.0)
    dsn = await postgres_server.create_database()
    first = await asyncpg.connect(dsn)
    async with first.transaction():
        await first.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        second = asyncio.create_task(migrate(dsn))
        done, _ = await asyncio.wait([second], timeout=1.5)
        assert not done
    assert await second == len(migrations())
    await first.close()
    await postgres_server.drop_database(dsn)


async def test_a_step_that_fails_leaves_nothing(postgres_server: PostgresServer) -> None:
    """A table is in the way of the first step's last statements: the whole step is undone."""
    dsn = await postgres_server.create_database()
    await execute(dsn, "CREATE TABLE send_log (id INTEGER)")

    with pytest.raises(DatabaseUnusable, match="holds tables of another program"):
        await migrate(dsn)

    assert await tables(dsn) == ["send_log"]
    await postgres_server.drop_database(dsn)
