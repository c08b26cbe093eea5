"""A real server whose database is away for a while: it says so, loses and doubles nothing, and goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.chaos import three_nodes
from tests.chaos.disturbances import Disturbance, Kind
from tests.support.nodes import call, entries, is_sent, settle_in, submit, until
from tests.support.postgres import DSN_VARIABLE, MISSING, PostgresServer, find_postgres
from tests.support.server import Client, Server
from tests.support.smtp_server import SmtpServer, Stage

SMALL = 16 * 1024
"""Bytes beyond which no file of the server grows: its log stays below, and what is written to the database
comes later in its file."""


async def test_a_database_locked_by_another_program(server: Server, mail: SmtpServer) -> None:
    """For longer than anybody waits: intake is refused, what was sent is recorded once the lock is gone."""
    client, held = await with_one_in_flight(server, mail)
    lock = sqlite3.connect(server.directory / "mail_service.db", isolation_level=None)
    with contextlib.closing(lock):
        lock.execute("BEGIN IMMEDIATE")
        held.set()
        assert await refused(client, "m2") == 503
        await until(lambda: server.log, lambda log: pauses(log) >= 1)
        assert "is locked by another program" in server.log
    await goes_on(server, mail)
    await until(lambda: server.log, lambda log: pauses(log) == log.count(" goes on"))


async def test_a_disk_that_is_full(server: Server, mail: SmtpServer) -> None:
    """Nothing can be written: intake is refused, what was sent is recorded once there is room."""
    client, held = await with_one_in_flight(server, mail)
    soft, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (SMALL, hard))
    held.set()
    assert await refused(client, "m2") == 503
    await until(lambda: server.log, lambda log: pauses(log) == 2)

    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (soft, hard))
    await goes_on(server, mail)
    await until(lambda: server.log, lambda log: log.count(" goes on") == 2)
    assert await asyncio.to_thread(server.stop) == 0
    assert "Traceback" not in server.log


async def with_one_in_flight(server: Server, mail: SmtpServer) -> tuple[Client, asyncio.Event]:
    """Let `m1` be in its final step, its server silent until the event; `scheduled` is due soon."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held]}
    client = await settle_in(server, mail)
    await submit(client, "m1")
    await mail.wait_at(Stage.DOT)
    await submit(client, "scheduled", deferred_ts=time.time() + 1)
    return client, held


def pauses(log: str) -> int:
    """How often the two that write what becomes of messages have said that they cannot."""
    return log.count("recording outcomes pauses") + log.count("dispatch pauses")


async def refused(client: Client, message_id: str) -> int:
    """The status that intake answers."""
    status, _ = await asyncio.to_thread(client.request, "POST", "/commands/add-messages", entries(message_id))
    return status


async def goes_on(server: Server, mail: SmtpServer) -> None:
    """What was in flight is recorded as sent, what was due and what comes now are sent; each arrived once."""
    client = server.client()  # one that was idle for a while has been closed
    await submit(client, "m3")
    for name in ("m1", "scheduled", "m3"):
        await until(partial(client.get, f"/messages/{name}?tenant_id=acme"), is_sent)
    assert len(mail.received) == 3


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that the test may stop, and that keeps what it has committed when it crashes."""
    if DSN_VARIABLE in os.environ:
        pytest.skip(f"the PostgreSQL of {DSN_VARIABLE} is not the test's to stop")
    found = find_postgres(durable=True)
    if found is None:
        pytest.skip(MISSING)
    with found:
        yield found


async def test_a_database_that_restarts_pauses_work_and_loses_none(
    tmp_path: Path, mail: SmtpServer, own_postgres: PostgresServer
) -> None:
    """What was being sent meanwhile is recorded when it is back, and all goes on by itself."""
    dsn = await own_postgres.create_database()
    server = await asyncio.to_thread(Server(tmp_path / "home", database_url=dsn).start)
    try:
        client, held = await with_one_in_flight(server, mail)
        await asyncio.to_thread(own_postgres.halt)
        held.set()
        await until(lambda: client.request("GET", "/ready"), lambda answer: answer[0] == 503)
        assert (await call(client, "/health"))["database"] == "unavailable"
        assert await refused(client, "m2") == 503

        await asyncio.to_thread(own_postgres.serve)
        await until(lambda: client.request("GET", "/ready"), lambda answer: answer[0] == 200)
        await goes_on(server, mail)
        assert await asyncio.to_thread(server.stop) == 0
    finally:
        server.kill()
    assert server.log.count("dispatch pauses") <= 3
    assert "Traceback" not in server.log


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_database_that_restarts_amid_dispatch_doubles_nothing(
    own_postgres: PostgresServer, how: signal.Signals
) -> None:
    """With thirty conversations of three nodes under way, each commit in it may be lost or not."""
    plan = [Disturbance(1.0, 0.5, Kind.RESTART, how=how), Disturbance(3.0, 0.5, Kind.RESTART, how=how)]
    outcome = three_nodes.run("postgres", messages=200, seconds=5, plan=plan, postgres=own_postgres)

    assert outcome.broken_promises() == [], str(outcome)
    assert (outcome.restarts, outcome.doubled) == (2, set())
