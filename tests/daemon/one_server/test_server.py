"""A real server process: signals, drain, and its exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.application import Application
from tests.support.cli import Cli
from tests.support.nodes import call, ended, settle_in, submit, until
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer, Stage


async def test_a_signal_to_stop_drains(server: Server, mail: SmtpServer) -> None:
    """What is under way is finished, recorded and reported; what waits stays queued; exit 0."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held]}
    async with Application() as app:
        client = await settle_in(server, mail, url=app.url, max_concurrent=1)
        await submit(client, "m1", "m2")
        await mail.wait_at(Stage.DOT)

        server.send_signal(signal.SIGTERM)
        ready = await until(lambda: client.request("GET", "/ready"), lambda answer: answer[0] == 503)
        assert "draining" in str(ready[1])
        assert (await call(client, "/health"))["status"] == "ok"
        message = "/messages/m2?tenant_id=acme"
        await until(lambda: client.get(message), lambda shown: shown["status"] == "pending")

        held.set()
        assert await ended(server) == 0
        assert [(entry["id"], entry["event"]) for entry in app.entries] == [("m1", "sent")]
    assert len(mail.received) == 1
    assert "Traceback" not in server.log
    statuses = await asyncio.to_thread(stored_statuses, server)
    assert statuses == {"m1": "sent", "m2": "pending"}


async def test_what_was_left_by_a_drain_goes_on_in_the_next_life(server: Server, mail: SmtpServer) -> None:
    """Nothing is sent twice, and nothing waits for a lease."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held]}
    client = await settle_in(server, mail, max_concurrent=1)
    await submit(client, "m1", "m2", "m3")
    await mail.wait_at(Stage.DOT)
    server.send_signal(signal.SIGTERM)
    await until(lambda: server.log, lambda log: "stopping (SIGTERM)" in log)
    held.set()
    assert await ended(server) == 0

    await asyncio.to_thread(server.start)
    await mail.wait_for(3)
    assert len({each.content for each in mail.received}) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(server: Server, mail: SmtpServer, number: signal.Signals) -> None:
    """Without waiting for anybody, with one line that says what may come of it."""
    mail.at = {Stage.DOT: asyncio.Event()}
    client = await settle_in(server, mail)
    await submit(client, "m1")
    await mail.wait_at(Stage.DOT)
    server.send_signal(number)
    await until(lambda: server.log, lambda log: "stopping" in log)

    assert await asyncio.to_thread(server.end, number) == 1
    assert server.log.splitlines()[-1] == (
        "Error: 'test' was told twice to stop: what it was sending may be sent again"
    )
    assert "Traceback" not in server.log


def test_an_idle_server_stops_at_once(tmp_path: Path) -> None:
    """Not when it would look again: the test waits half a minute for its end, and then kills it."""
    server = Server(tmp_path / "home", settings={"GMP_SEND_LOOP_INTERVAL": "600"}).start()
    assert server.stop() == 0
    assert not (server.directory / "pid").exists()


async def test_a_hangup_rereads_the_configuration(server: Server) -> None:
    """What can change does, what cannot is named, and what is wrong changes nothing."""
    config = server.directory / "config.toml"
    config.write_text("retry_delays = [7]\nmax_inflight_mb = 9\n")
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.log, lambda log: "only a restart applies it: max_inflight_mb" in log)
    assert "configuration read anew" in server.log

    config.write_text("retry_delay = [7]\n")
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.log, lambda log: "the configuration stays as it was" in log)
    assert "did you mean retry_delays?" in server.log

    config.unlink()
    config.mkdir()
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.log, lambda log: log.count("the configuration stays as it was") == 2)
    assert server.client().get("/health")["status"] == "ok"


async def test_a_new_schedule_of_retries_holds_without_a_restart(server: Server, mail: SmtpServer) -> None:
    client = await settle_in(server, mail)
    (server.directory / "config.toml").write_text("retry_delays = [1000]\n")
    server.send_signal(signal.SIGHUP)
    await until(lambda: server.log, lambda log: "configuration read anew" in log)
    await submit(client, "m1", to=["grey@b.test"])
    message = await until(
        lambda: client.get("/messages/m1?tenant_id=acme"), lambda found: found["status"] == "deferred"
    )
    assert 890 < message["deferred_ts"] - time.time() < 1110


async def test_a_hangup_opens_the_log_anew(tmp_path: Path) -> None:
    """As log rotation expects it of a detached server."""
    cli = Cli(tmp_path)
    await asyncio.to_thread(cli.ok, "start", "a", "--port", "0")
    try:
        directory = cli.home / "a"
        log = directory / "server.log"
        log.rename(directory / "server.log.old")
        os.kill(json.loads((directory / "pid").read_text())["pid"], signal.SIGHUP)
        await until(
            lambda: log.read_text() if log.exists() else "", lambda text: "configuration read anew" in text
        )
        assert log.stat().st_mode & 0o777 == 0o600
    finally:
        await asyncio.to_thread(cli.ok, "stop", "a")
    assert "stopped" in log.read_text()


def test_a_taken_port_is_one_line_and_exit_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = Cli(tmp_path)("serve", "a", "--port", str(port))
    assert result.code == 1
    assert result.err == (
        f"Error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "stop what uses it, or choose another with --port\n"
    )


async def test_a_bug_ends_the_process_for_the_supervisor(server: Server, mail: SmtpServer) -> None:
    """Never half alive: exit 1, with the trace on one line of the log."""
    async with Application() as app:
        client = await settle_in(server, mail, url=app.url)
        await submit(client, "m1")
        await until(partial(client.get, "/messages/m1?tenant_id=acme"), lambda found: found["reported_ts"])
        await asyncio.to_thread(
            change_database,
            server,
            "UPDATE messages SET metadata = 'not JSON'",
            "UPDATE events SET is_due = 1 WHERE event_type = 'sent'",
        )
        await asyncio.to_thread(client.post, "/commands/run-now")
        assert await ended(server) == 1
    (trace,) = [line for line in server.log.splitlines() if "a bug in reporter ends this server" in line]
    assert "JSONDecodeError" in trace
    assert server.log.splitlines()[-1].startswith("Error: unexpected: JSONDecodeError")


def stored_statuses(server: Server) -> dict[str, str]:
    """What the database of a stopped server says."""
    with contextlib.closing(sqlite3.connect(server.directory / "mail_service.db")) as database:
        return dict(database.execute("SELECT id, status FROM messages"))


def change_database(server: Server, *statements: str) -> None:
    """Change the tables behind the server's back, in one commit."""
    with contextlib.closing(sqlite3.connect(server.directory / "mail_service.db")) as database, database:
        for statement in statements:
            database.execute(statement)
