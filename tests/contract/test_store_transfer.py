"""Everything in one database, copied into another of either engine: equal, or nothing at all."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from mail_proxy.errors import Conflict, DatabaseUnavailable, DatabaseUnusable
from mail_proxy.model.commands import Command
from mail_proxy.store.integrity import look
from mail_proxy.store.migration import current_version, migrate_sqlite, tables
from mail_proxy.store.store import open_database
from mail_proxy.store.transfer import OF_ITS_OWN, Held, Place, transfer
from tests.support.everything import dump, files_in, fill_everything
from tests.support.postgres import PostgresServer
from tests.support.stores import NOW, Bench, as_sent, open_store, record_outcome, target_of
from tests.support.works import ask

EmptyUrl = Callable[[str], Awaitable[str]]


@pytest.fixture
async def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmptyUrl]:
    """Makes a database with nothing in it, or the name of one, of the engine asked for."""
    files: list[str] = []
    made: list[tuple[PostgresServer, str]] = []

    async def make(dialect: str) -> str:
        if dialect == "sqlite":
            files.append(str(tmp_path / f"copy-{len(files)}.db"))
            return files[-1]
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = await server.create_database()
        made.append((server, url))
        return url

    yield make
    for server, url in made:
        await server.drop_database(url)


def other(dialect: str) -> str:
    return "postgres" if dialect == "sqlite" else "sqlite"


async def copy(source: str, target: str, *, held: Held | None = None) -> int:
    return await transfer(
        Place(target_of(source), source), Place(target_of(target), target), ignore, held=held or nothing
    )


async def nothing() -> None:
    """Nobody is refused."""


def ignore(_done: int, _total: int) -> None:
    """Nobody looks."""


async def rows_of(url: str) -> int:
    return sum(len(rows) for name, rows in (await dump(url)).items() if name not in OF_ITS_OWN)


async def test_everything_arrives_and_comes_back_equal(bench: Bench, empty_url: EmptyUrl) -> None:
    """To the other engine, and from there back: text, blobs, times to the last bit, and what is not there."""
    await fill_everything(bench)
    before = await dump(bench.url)
    assert [name for name, rows in before.items() if not rows] == []
    dialect = bench.store.database.dialect
    there, back = await empty_url(other(dialect)), await empty_url(dialect)

    copied = await copy(bench.url, there)

    assert await copy(there, back) == copied == await rows_of(bench.url)
    after = await dump(back)
    assert after.pop("nodes") == []
    assert after == {name: rows for name, rows in before.items() if name != "nodes"}


async def test_work_goes_on_in_the_copy(bench: Bench, empty_url: EmptyUrl) -> None:
    """What waits is sent, and what is new gets numbers that no row has had, not even one that is gone."""
    await fill_everything(bench)
    there = await empty_url(other(bench.store.database.dialect))
    [last] = [row["n"] for row in await bench.rows("SELECT MAX(command_id) AS n FROM commands")]
    await copy(bench.url, there)

    async with open_store(there) as store:
        moved = Bench(store, there, bench.lane)
        assert [each.id for each in await moved.claim()] == ["plain"]
        await moved.sent("fresh")
        number = await store.commands.add(Command(ts=NOW, endpoint="add", path="/", client=None))
        assert number == last + 2


async def test_one_engine_to_the_same(bench: Bench, empty_url: EmptyUrl) -> None:
    """From one server to another, or from one file to another."""
    await fill_everything(bench)
    there = await empty_url(bench.store.database.dialect)

    await copy(bench.url, there)

    assert (await dump(there))["messages"] == (await dump(bench.url))["messages"]


async def test_a_prepared_database_will_do(sqlite_url: str, postgres_url: str) -> None:
    """One with the schema and no rows."""
    async with open_store(sqlite_url) as store:
        await fill_everything(Bench(store, sqlite_url, await Bench(store, sqlite_url, 0).account("main")))

    assert await copy(sqlite_url, postgres_url) == await rows_of(postgres_url)


async def test_a_database_in_use_is_refused(bench: Bench, postgres_server: PostgresServer) -> None:
    """Whatever is in it stays as it is; a file is never replaced; and nothing waits for itself for ever."""
    await fill_everything(bench)
    before = await dump(bench.url)

    with pytest.raises(Conflict, match=r"holds an instance already|is there already"):
        await copy(bench.url, bench.url)

    assert await dump(bench.url) == before


async def test_one_that_holds_an_instance_is_refused(sqlite_url: str, postgres_url: str) -> None:
    """Its rows are neither mixed with others nor replaced."""
    for url in (sqlite_url, postgres_url):
        async with open_store(url) as store:
            await Bench(store, url, 0).account(f"main-of-{store.database.dialect}")

    with pytest.raises(Conflict, match=r"holds an instance already \(there are rows in tenants\)"):
        await copy(sqlite_url, postgres_url)

    assert await rows_of(postgres_url) == 3


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
async def test_what_does_not_fit_leaves_nothing(sqlite_url: str, empty_url: EmptyUrl, dialect: str) -> None:
    """A row that the other refuses, after others were written: it is as empty as before, and can be used."""
    async with open_store(sqlite_url) as store:
        bench = Bench(store, sqlite_url, 0)
        await bench.account("main")
    with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as raw:
        raw.execute("INSERT INTO suspensions VALUES ('nobody', '*', 1)")
    there = await empty_url(dialect)

    with pytest.raises(DatabaseUnusable, match="suspensions"):
        await copy(sqlite_url, there)

    if dialect == "sqlite":
        assert files_in(Path(sqlite_url).parent) == ["mail_service.db"]
    else:
        assert await rows_of(there) == 0
    with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as raw:
        raw.execute("DELETE FROM suspensions")
    assert await copy(sqlite_url, there) == await rows_of(there) == 3


async def test_a_number_too_large_for_the_other_is_told(sqlite_url: str, postgres_url: str) -> None:
    """By the table that has it."""
    async with open_store(sqlite_url) as store:
        bench = Bench(store, sqlite_url, 0)
        await bench.account("main")
        await bench.execute("UPDATE accounts SET port = 99999999999")

    with pytest.raises(DatabaseUnusable, match="does not take the rows of the table accounts"):
        await copy(sqlite_url, postgres_url)


async def test_an_empty_database_is_not_copied(
    empty_url: EmptyUrl, database_url: str, tmp_path: Path
) -> None:
    """Neither one that has the schema alone, nor one that is not there; and none is made."""
    there = await empty_url("sqlite")
    for source in (database_url, await empty_url("sqlite")):
        with pytest.raises(DatabaseUnusable, match="is empty: there is nothing to copy"):
            await copy(source, there)
    assert [name for name in files_in(tmp_path) if name.startswith("copy")] == []


async def test_an_older_schema_stays_what_it_is(tmp_path: Path, empty_url: EmptyUrl) -> None:
    """Copies are of the version of what was copied: whoever opens one upgrades it."""
    older = str(tmp_path / "older.db")
    with closing(sqlite3.connect(older, isolation_level=None)) as raw:
        migrate_sqlite(raw, older, upto=3)
        raw.execute("INSERT INTO settings VALUES ('k', '1')")
    there = await empty_url("postgres")
    back = await empty_url("sqlite")

    await copy(older, there)
    await copy(there, back)

    for url in (there, back):
        assert (await look(target_of(url), url, thorough=False)).version == 3
    async with open_database(target_of(there), there) as database:
        assert await database.migrate() == current_version() - 3
        assert [row["key"] for row in await database.read(ask, "SELECT key FROM settings")] == ["k"]


async def test_a_newer_schema_is_refused(database_url: str, empty_url: EmptyUrl) -> None:
    """It may have tables that this program knows nothing of."""
    async with open_store(database_url) as store:
        bench = Bench(store, database_url, 0)
        await bench.execute(f"INSERT INTO schema_version VALUES ({current_version() + 1}, 'later', 'x', 0)")

    with pytest.raises(DatabaseUnusable, match="copy it with the mail-proxy that has written it"):
        await copy(database_url, await empty_url("sqlite"))


async def test_nobody_writes_while_a_database_is_moved(bench: Bench, empty_url: EmptyUrl) -> None:
    """So that nothing is left behind; afterwards they may."""
    await fill_everything(bench)
    there = await empty_url(other(bench.store.database.dialect))
    writing: list[asyncio.Task[None]] = []
    waited: list[bool] = []

    def tell(done: int, total: int) -> None:
        if not writing:
            writing.append(asyncio.create_task(bench.store.settings.put("late", "x")))
        if done == total:
            waited.append(not writing[0].done())

    await transfer(Place(target_of(bench.url), bench.url), Place(target_of(there), there), tell, held=nothing)

    await writing[0]
    assert waited == [True]
    assert await bench.store.settings.get("late") == "x"
    async with open_store(there) as store:
        assert await store.settings.get("late") is None


async def test_who_is_found_at_work_at_last_ends_it(bench: Bench, postgres_url: str) -> None:
    """A server that entered after one had looked who is there: one looks again when nobody can enter."""

    async def refuse() -> None:
        raise Conflict("a server is at work")

    with pytest.raises(Conflict, match="a server is at work"):
        await copy(bench.url, postgres_url, held=refuse)
    await bench.add("m")


async def test_a_snapshot_holds_nobody_up(postgres_url: str, empty_url: EmptyUrl) -> None:
    """A backup is of the moment at which it began, whatever is written while it is made."""
    async with open_store(postgres_url) as store:
        bench = Bench(store, postgres_url, 0)
        bench.lane = await bench.account("main")
        await bench.add(*(f"m{i}" for i in range(50)))
        there = await empty_url("sqlite")
        writing: list[asyncio.Task[None]] = []

        def tell(_done: int, _total: int) -> None:
            number = len(writing)
            writing.append(asyncio.create_task(bench.add(f"later{number}")))

        await transfer(Place(postgres_url, "p"), Place(Path(there), there), tell)
        await asyncio.gather(*writing)

    assert len((await dump(there))["messages"]) == 50
    assert len((await dump(postgres_url))["messages"]) == 50 + len(writing)


async def test_who_keeps_changing_the_source_is_told_of(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that does not end does not let it wait for ever."""
    there = str(tmp_path / "copy.db")
    async with open_store(sqlite_url) as store:
        await Bench(store, sqlite_url, 0).account("main")
    with closing(sqlite3.connect(sqlite_url, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr("mail_proxy.store.tables.BUSY_TIMEOUT", 0.1)
        with pytest.raises(DatabaseUnavailable, match="is locked by another program"):
            await copy(sqlite_url, there)


def test_the_tables_are_those_that_the_steps_make(sqlite_template: Path) -> None:
    """None is forgotten in a copy, and those that number their rows are known."""
    with closing(sqlite3.connect(sqlite_template)) as raw:
        made = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        numbered = {
            row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
        }
    ours = {table.name for table in tables()}
    assert made - {"sqlite_sequence", "schema_version"} == ours
    assert {table.name for table in tables() if table.identity} == numbered


async def test_work_in_flight_is_taken_over(bench: Bench, empty_url: EmptyUrl) -> None:
    """A message whose server died before the move is sent from the copy once its lease has run out."""
    await bench.add("begun")
    await bench.claim()
    there = await empty_url(other(bench.store.database.dialect))
    await copy(bench.url, there)

    async with open_store(there) as store:
        moved = Bench(store, there, bench.lane)
        assert len(await store.queue.take_over(NOW + 31, owner="successor")) == 1
        [claimed] = await moved.claim(now=NOW + 31)
        assert await record_outcome(store, as_sent(claimed), "node-a", NOW + 31)
