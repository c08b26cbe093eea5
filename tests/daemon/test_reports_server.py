"""A real server process tells a real application: through faults of it, restarts, and kills."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import asyncpg
import pytest

from tests.support.application import Answer, Application, Post
from tests.support.nodes import ended
from tests.support.office import Office, move_in
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer

QUICK = {"GMP_RETRY_DELAYS": "0.05,0.05,0.2,0.5,1"}
"""Deferred messages are sent again soon."""

WITHOUT_WAITING = 10.0
"""Seconds that are less than any lease has, and enough for a slow machine."""

FAULTS = {
    "500": Answer(status=500),
    "redirect": Answer(status=307, headers={"Location": "http://127.0.0.1:1/"}),
    "not-ok": Answer(body={"ok": False}),
    "garbage": Answer(raw=b"\x00\x01\r\n\r\n"),
    "dropped": Answer(drop=True),
    "cut": Answer(drop=True, cut=75),
    "silent": Answer(hang=True),
}


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A process of ours, not started, on either engine."""
    dsn = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    made = Server(tmp_path / "home", database_url=dsn, settings=QUICK)
    yield made
    made.kill()


@pytest.fixture
async def office(server: Server) -> AsyncIterator[Office]:
    async with Application() as app:
        await asyncio.to_thread(server.start)
        yield await move_in(server, app)


def more_than(count: int) -> Callable[[Sequence[Post]], bool]:
    return lambda posts: len(posts) > count


async def test_after_fault_upon_fault_everything_has_been_told(server: Server, mail: SmtpServer) -> None:
    """Of messages that are sent, that fail, and that are deferred at first. A run-now ends the waiting."""
    async with Application() as app:
        await asyncio.to_thread(server.start)
        office = await move_in(server, app, mail)
        ids: list[str] = []
        for fault, answer in FAULTS.items():
            app.answer, posts = answer, len(app.posts)
            for name in ("ann", "nouser", "grey"):
                some = [f"{fault}-{name}{number}" for number in range(3)]
                await office.submit(*some, to=f"{name}@example.net")
                ids += some
            await app.wait_for(more_than(posts))
            if answer.hang:
                await app.close()
                await app.open()
            status = await office.until_status(lambda status: status["consecutive_failures"] > 0)
            assert status["last_error"]

            app.answer, mail.refusals = Answer(), {"nouser": mail.refusals["nouser"]}
            await office.run_now()
            await office.until_told(ids)
            mail.refusals = {**mail.refusals, "grey": "451 4.7.1 greylisted"}
        assert await office.complaints(ids) == []
        events = {entry["event"] for entry in app.entries}
        assert events == {"sent", "error", "deferred"}
    assert "Traceback" not in server.log


async def test_an_application_that_is_away_hears_when_it_is_back(office: Office) -> None:
    """On the same port, while the server lives on."""
    await office.submit("m1")
    await office.app.wait_for(more_than(0))
    await office.app.close()
    await office.submit("m2", "m3")
    status = await office.until_status(lambda status: status["consecutive_failures"] > 0)
    assert "Connection refused" in status["last_error"]
    await office.app.open()
    await office.run_now()
    await office.until_told(["m1", "m2", "m3"])
    assert await office.complaints(["m1", "m2", "m3"]) == []
    assert len(office.app.entries) == 3


async def test_a_stop_waits_for_the_answer_and_tells_nothing_twice(office: Office) -> None:
    held = asyncio.Event()
    office.app.script = [Answer(held=held)]
    await office.submit("m1")
    await office.app.wait_for(more_than(0))
    office.server.send_signal(signal.SIGTERM)
    await office.until_log("stopping (SIGTERM)")
    held.set()
    assert await ended(office.server) == 0
    await office.restart()
    await office.submit("m2")
    await office.until_told(["m1", "m2"])
    assert [entry["id"] for entry in office.app.entries] == ["m1", "m2"]


async def test_a_kill_before_the_answer_repeats_the_post(office: Office) -> None:
    office.app.script = [Answer(hang=True)]
    await office.submit("m1", "m2")
    await office.app.wait_for(more_than(0))
    await asyncio.to_thread(office.server.kill)
    await office.restart()
    await office.app.wait_for(more_than(1), WITHOUT_WAITING)
    await office.until_told(["m1", "m2"])
    assert await office.complaints(["m1", "m2"]) == []


async def test_a_kill_between_answer_and_acknowledgement_repeats_the_post(office: Office) -> None:
    """Several times in a row: the application has said yes, the server has read it and written nothing of it.

    The next life tells the same again, and waits for no lease of the last one.
    """
    for name in ("m1", "m2", "m3"):
        said, posts = asyncio.Event(), len(office.app.posts)
        async with AsyncExitStack() as stack:

            async def agree(_: Post, said: asyncio.Event = said, stack: AsyncExitStack = stack) -> Answer:
                await stack.enter_async_context(written_by_nobody(office.server))
                return Answer(headers={"Connection": "close"}, read=said)

            office.app.answer = agree
            await office.submit(name)
            async with asyncio.timeout(60):
                await said.wait()
            await asyncio.to_thread(office.server.kill)
        office.app.answer = Answer()
        await office.restart()
        await office.app.wait_for(more_than(posts + 1), WITHOUT_WAITING)
        first, again = office.app.posts[posts : posts + 2]
        assert [entry["id"] for entry in first.entries] == [name]
        assert again.entries == first.entries
        await office.until_told([name])
    assert await office.complaints(["m1", "m2", "m3"]) == []


@asynccontextmanager
async def written_by_nobody(server: Server) -> AsyncIterator[None]:
    """Let nobody write what became of events."""
    if server.database_url is not None:
        connection = await asyncpg.connect(server.database_url)
        try:
            await connection.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE")
            yield
        finally:
            await connection.close()
    else:
        with closing(sqlite3.connect(server.directory / "mail_service.db", isolation_level=None)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            yield
