"""PostgreSQL: conflicts of nodes are tried again, failures said in one line, and nodes hear each other."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from mail_proxy.errors import DatabaseUnavailable, DatabaseUnusable, InvalidInput
from mail_proxy.store import postgres
from mail_proxy.store.database import Call, Many, Work
from mail_proxy.store.postgres import CONFLICT_RETRIES, PostgresDatabase
from tests.support.postgres import PostgresServer, find_postgres
from tests.support.stores import statement
from tests.support.works import COUNT, KEYS, Refused, ask

ONE = statement("SELECT 1 AS n")
WHOM = statement("SELECT pg_backend_pid() AS pid")
IS_THERE = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1"
INSERT = statement("INSERT INTO settings (key, value) VALUES ($1, 'v')")


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[PostgresDatabase]:
    opened = await PostgresDatabase.open(postgres_url, "postgresql://db/test", pool_size=4)
    yield opened
    await opened.close()


def insert(key: str) -> Call:
    query = statement(f"INSERT INTO settings (key, value) VALUES ('{key}', 'v')")
    return Call(query, {})


def put(key: str) -> Work[None]:
    yield insert(key)


def keys() -> Work[list[str]]:
    rows = yield Call(KEYS, {})
    return [row["key"] for row in rows]


async def test_a_failing_unit_leaves_nothing(database: PostgresDatabase) -> None:
    """Its caller gets what it raised."""

    def fail() -> Work[None]:
        yield insert("lost")
        raise Refused

    with pytest.raises(Refused):
        await database.write(fail)
    assert await database.read(keys) == []


async def test_a_cancelled_caller_leaves_all_or_nothing(database: PostgresDatabase) -> None:
    """And its connection serves the next."""
    tasks = [asyncio.create_task(database.write(put, f"k{i}")) for i in range(12)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    stored = await database.read(keys)
    assert {f"k{i}" for i in range(1, 12, 2)} <= set(stored)
    assert len(await asyncio.gather(*(database.read(keys) for _ in range(8)))) == 8


async def test_a_conflict_is_tried_again(database: PostgresDatabase) -> None:
    """The second try sees what the other node has written: the unit runs anew, from its beginning."""
    tries = 0

    def unless_there() -> Work[bool]:
        nonlocal tries
        tries += 1
        rows = yield Call(COUNT, {})
        if rows[0]["n"]:
            return False
        if tries == 1:  # another node is faster: after our look, before our insert
            yield Call(statement("SELECT pg_sleep(0.05)"), {})
        yield insert("same")
        return True

    other = asyncio.create_task(database.write(put, "same"))
    is_mine = await database.write(unless_there)
    await other

    assert not is_mine
    assert tries <= 2
    assert await database.read(keys) == ["same"]


async def test_a_conflict_that_stays_is_raised(database: PostgresDatabase) -> None:
    """After a few tries, so that nobody waits for ever on what will not change."""
    await database.write(put, "same")
    tries = 0

    def stubborn() -> Work[None]:
        nonlocal tries
        tries += 1
        yield insert("same")

    with pytest.raises(asyncpg.UniqueViolationError):
        await database.write(stubborn)
    assert tries == CONFLICT_RETRIES + 1


async def test_a_deadlock_is_resolved(database: PostgresDatabase) -> None:
    """Two nodes that lock the same rows in opposite order both succeed."""
    await database.write(put, "a")
    await database.write(put, "b")
    await database.write(ask, "ALTER ROLE CURRENT_USER SET deadlock_timeout = '50ms'")

    def touch(*order: str) -> Work[None]:
        for key in order:
            yield Call(statement(f"UPDATE settings SET value = value || 'x' WHERE key = '{key}'"), {})
            yield Call(statement("SELECT pg_sleep(0.02)"), {})

    await asyncio.gather(database.write(touch, "a", "b"), database.write(touch, "b", "a"))

    rows = await database.read(ask, "SELECT value FROM settings")
    assert [row["value"] for row in rows] == ["vxx", "vxx"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_cannot_be_stored_is_refused(database: PostgresDatabase, text: str) -> None:
    """The caller's fault, not the database's."""
    query = statement("INSERT INTO settings (key, value) VALUES ($1, 'v')")
    query = type(query)(query.name, query.doc, query.sqlite, query.postgres, ("key",))

    def one() -> Work[None]:
        yield Call(query, {"key": text})

    def many() -> Work[None]:
        yield Many(query, [{"key": text}])

    for work in (one, many):
        with pytest.raises(InvalidInput, match="what no database can store"):
            await database.write(work)


async def test_closing_ends_all_connections(postgres_url: str) -> None:
    """And what is asked afterwards is told so."""
    opened = await PostgresDatabase.open(postgres_url, "db")
    await opened.close()

    for asked in (opened.read(keys), opened.write(put, "k"), opened.notify("x"), opened.migrate()):
        with pytest.raises(DatabaseUnavailable, match="database db is not available: pool is clos"):
            await asked


# Opening


def altered(dsn: str, **parts: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(**parts))


async def test_a_database_that_is_not_there(postgres_url: str) -> None:
    """A person must act; the line names it without its password."""
    with pytest.raises(DatabaseUnusable) as caught:
        await PostgresDatabase.open(altered(postgres_url, path="/nowhere"), "postgresql://db/nowhere")

    assert str(caught.value) == (
        'database postgresql://db/nowhere refuses: database "nowhere" does not exist'
    )


async def test_a_user_that_is_not_there(postgres_url: str) -> None:
    """As for a wrong password."""
    place = urlsplit(postgres_url).netloc.rpartition("@")[2]

    with pytest.raises(DatabaseUnusable, match='database db refuses: role "nobody" does not exist'):
        await PostgresDatabase.open(altered(postgres_url, netloc=f"nobody@{place}"), "db")


async def test_a_server_that_does_not_listen() -> None:
    """Worth trying again."""
    with pytest.raises(DatabaseUnavailable, match="database db is not available: "):
        await PostgresDatabase.open("postgresql://postgres@127.0.0.1:1/x", "db")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pa/ssword@host:5432/x",
        "postgresql://me:pa#ssword@host:5432/x",
        "postgresql://me:ssword@host:port/x",
    ],
)
async def test_a_url_that_cannot_be_read(url: str) -> None:
    """Says how one looks, and repeats nothing of what was given: it may be a password."""
    with pytest.raises(DatabaseUnusable) as caught:
        await PostgresDatabase.open(url, "postgresql://…")

    assert str(caught.value) == (
        "database URL postgresql://… is not valid: give postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
        "special characters as %XX"
    )
    assert caught.value.__cause__ is None


# Away


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = find_postgres()
    if server is None or server._given is not None:  # noqa: SLF001 - a server of others is not ours to stop
        pytest.skip("needs a PostgreSQL of its own, to stop it")
    with server:
        yield server


async def test_a_server_that_goes_away_and_comes_back(
    own_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever asks meanwhile is told; afterwards all works without opening again, and nothing is logged."""
    dsn = await own_server.create_database()
    opened = await PostgresDatabase.open(dsn, "db")
    try:
        await opened.migrate()
        own_server.halt()
        for asked in (opened.read(keys), opened.write(put, "lost"), opened.notify("x")):
            with pytest.raises(DatabaseUnavailable, match="database db is not available: "):
                await asked
        own_server.serve()
        await opened.write(put, "k")
        assert await opened.read(keys) == ["k"]
        assert caplog.text == ""
    finally:
        await opened.close()


@pytest.mark.parametrize("is_begun", [False, True], ids=["idle", "in a unit of work"])
@pytest.mark.parametrize("kind", ["read", "snapshot", "write"])
async def test_a_server_that_falls_silent(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, kind: str, is_begun: bool
) -> None:
    """Whoever asks on an open connection is told after one time-out, and shortly after, not after several."""
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT", 3.0)
    monkeypatch.setattr(postgres, "RELEASE_TIMEOUT", 0.1)
    dsn = await own_server.create_database()
    opened = await PostgresDatabase.open(dsn, "db")
    silenced: list[int] = []

    def ask_twice() -> Work[int]:
        if is_begun:
            yield Call(ONE, {})
            silenced.extend(own_server.silence())
        rows = yield Call(ONE, {})
        return int(rows[0]["n"])

    try:
        if not is_begun:
            silenced.extend(own_server.silence())
        begun = time.monotonic()
        with pytest.raises(DatabaseUnavailable, match="database db is not available: TimeoutError"):
            await getattr(opened, kind)(ask_twice)
        assert 2.9 < time.monotonic() - begun < 5.9
        own_server.wake(silenced)
        is_begun = False
        assert await getattr(opened, kind)(ask_twice) == 1
    finally:
        own_server.wake(silenced)
        await opened.close()


async def test_a_statement_that_takes_too_long_is_ended(
    database: PostgresDatabase, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the server, too: what it has locked is free, and its connection serves the next."""
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT", 1.5)
    impatient = await PostgresDatabase.open(postgres_url, "db", pool_size=1)

    def tarry() -> Work[None]:
        yield insert("slow")
        yield Call(statement("SELECT pg_sleep(600)"), {})

    def who() -> Work[int]:
        rows = yield Call(WHOM, {})
        return int(rows[0]["pid"])

    try:
        before = await impatient.read(who)
        with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
            await impatient.write(tarry)
        await database.write(put, "slow")
        assert await impatient.read(who) == before
    finally:
        await impatient.close()


def stop_until_ended(dsn: str, pid: int) -> None:
    """Be as a node that is stopped: its loop does nothing until the server has ended this connection."""

    async def look() -> None:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            while await connection.fetchval(IS_THERE, pid):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.02)
        finally:
            await connection.close()

    another = Thread(target=asyncio.run, args=[asyncio.wait_for(look(), 30)])
    another.start()
    another.join()


async def test_a_node_that_stands_still_in_a_transaction_holds_nobody_up(
    database: PostgresDatabase, postgres_url: str
) -> None:
    """The server ends it, others get what it had locked, and the node is told when it goes on."""

    def stand_still() -> Work[None]:
        (whom,) = yield Call(WHOM, {})
        yield Call(statement("SET LOCAL idle_in_transaction_session_timeout = '100ms'"), {})
        yield insert("k")
        stop_until_ended(postgres_url, whom["pid"])
        yield insert("lost")

    assert await setting(database, "idle_in_transaction_session_timeout") == "10s"
    with pytest.raises(DatabaseUnavailable, match="is not available: "):
        await database.write(stand_still)
    await database.write(put, "k")
    assert await database.read(keys) == ["k"]


async def test_a_node_that_takes_nothing_of_an_answer_holds_nobody_up(
    database: PostgresDatabase, postgres_url: str
) -> None:
    """As one that is stopped while a large answer comes: the server waits for it amid a statement."""
    large = Call(statement("SELECT repeat('x', 10000000) AS x FROM generate_series(1, 3)"), {})

    def stop_reading() -> Work[None]:
        (whom,) = yield Call(WHOM, {})
        yield Call(statement("SET LOCAL tcp_user_timeout = '1s'"), {})
        yield insert("k")
        yield large  # so that it is prepared, for which the answer is small
        asyncio.get_running_loop().call_soon(stop_until_ended, postgres_url, whom["pid"])
        yield large

    assert await setting(database, "tcp_user_timeout") == "10000"
    with pytest.raises(DatabaseUnavailable, match="is not available: "):
        await database.write(stop_reading)
    await database.write(put, "k")
    assert await database.read(keys) == ["k"]


async def setting(database: PostgresDatabase, name: str) -> object:
    (shown,) = await database.read(ask, f"SHOW {name}")
    return shown[name]


async def test_a_farewell_of_the_server_that_is_half_read(own_server: PostgresServer) -> None:
    """It says that it ends, and then closes: who asks between the two is told what others are told."""
    dsn = await own_server.create_database()
    opened = await PostgresDatabase.open(dsn, "db")
    try:
        await opened.migrate()
        for turns in range(5):
            kinds = (opened.read, opened.snapshot, opened.write)
            await asyncio.gather(*(kind(keys) for kind in kinds))
            own_server.halt()
            for _ in range(turns):
                await asyncio.sleep(0)
            told = await asyncio.gather(*(kind(keys) for kind in kinds), return_exceptions=True)
            assert [type(each) for each in told] == [DatabaseUnavailable] * 3, f"after {turns} turns: {told}"
            own_server.serve()
    finally:
        await opened.close()


async def test_a_listener_can_be_ended_while_the_server_says_farewell(own_server: PostgresServer) -> None:
    """Whoever ends it waits for its end, not for an error in it."""
    dsn = await own_server.create_database()
    for turns in range(5):
        opened = await PostgresDatabase.open(dsn, "db")
        try:
            heard: asyncio.Queue[str] = asyncio.Queue()
            listening = asyncio.create_task(opened.listen(heard.put_nowait))
            await heard_something(opened, heard)
            own_server.halt()
            for _ in range(turns):
                await asyncio.sleep(0)
            listening.cancel()
            await asyncio.wait([listening], timeout=60)
            assert listening.cancelled(), f"after {turns} turns"
        finally:
            await opened.close()
        own_server.serve()


async def test_listening_ends_when_the_line_is_lost(own_server: PostgresServer) -> None:
    """So that whoever listens can take it up again."""
    dsn = await own_server.create_database()
    opened = await PostgresDatabase.open(dsn, "db")
    try:
        heard: asyncio.Queue[str] = asyncio.Queue()
        listening = asyncio.create_task(opened.listen(heard.put_nowait))
        await heard_something(opened, heard)
        own_server.halt(signal.SIGQUIT)
        done, _ = await asyncio.wait([listening], timeout=60)
        assert done == {listening}
        assert listening.exception() is None
    finally:
        await opened.close()


# Notifications


async def heard_something(sender: PostgresDatabase, heard: asyncio.Queue[str]) -> str:
    """Notify until the listener is there."""
    while True:
        await sender.notify("hello")
        try:
            return await asyncio.wait_for(heard.get(), 0.1)
        except TimeoutError:
            continue


async def test_nodes_hear_each_other(database: PostgresDatabase, postgres_url: str) -> None:
    """What one notifies, the others hear, whatever characters are in it; the listener can be ended."""
    other = await PostgresDatabase.open(postgres_url, "db")
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(database.listen(heard.put_nowait))
    try:
        assert await heard_something(other, heard) == "hello"
        await other.notify("it's ünïcode; -- $1")
        text = await asyncio.wait_for(heard.get(), 60)
        while text == "hello":
            text = await asyncio.wait_for(heard.get(), 60)
        assert text == "it's ünïcode; -- $1"
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await other.close()
