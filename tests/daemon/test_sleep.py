"""A real node that is stopped past its leases, as by a machine that sleeps, and then goes on."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from mail_proxy.encryption import generate_key
from tests.support.nodes import POLL, is_sent, settle_in, submit, until
from tests.support.server import Client, Server
from tests.support.smtp_server import SmtpServer, Stage

TAKEN_OVER = 90.0
"""Seconds within which another node has what the sleeper held: a lease lasts 30."""

NOW = "extract(epoch FROM clock_timestamp())"

GATE = """
CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.event_type = 'sending') EXECUTE FUNCTION wait_at_the_gate();
"""
"""Each commit of a `sending` waits, in the server, until the test lets it."""


@pytest.mark.timeout(300)
async def test_a_sleeper_notices_before_it_sends_on(
    tmp_path: Path, postgres_url: str, mail: SmtpServer
) -> None:
    """Stopped before DATA with one, before the content with another: both are sent by another node alone."""
    key = generate_key()
    sleeper, other = (
        Server(tmp_path / "home", name, database_url=postgres_url, key=key) for name in ("sleeper", "other")
    )
    held, goes_on = asyncio.Event(), asyncio.Event()
    mail.at = {Stage.RCPT: [held, goes_on]}
    try:
        await asyncio.to_thread(sleeper.start)
        here = await settle_in(sleeper, mail)
        for number, name in enumerate(("before", "between"), 1):
            await submit(here, name)
            await mail.until(partial(is_reached, mail, number))
        async with a_commit_held_up(postgres_url, goes_on):
            sleeper.send_signal(signal.SIGSTOP)

        await asyncio.to_thread(other.start)
        there = other.client()
        for name in ("before", "between"):
            await until(partial(there.get, f"/messages/{name}?tenant_id=acme"), is_sent, TAKEN_OVER)
        assert subjects(mail) == {"before": 1, "between": 1}

        held.set()
        sleeper.send_signal(signal.SIGCONT)
        await until(lambda: sleeper.log, lambda log: "message before is not sent now" in log)
        await until(lambda: sleeper.log, lambda log: "an outcome came too late" in log)
        here, there = sleeper.client(), other.client()  # servers close connections that were idle for so long
        await submit(here, "after")
        await until(partial(here.get, "/messages/after?tenant_id=acme"), is_sent)
        assert subjects(mail) == {"before": 1, "between": 1, "after": 1}
        assert await happened(there, "before") == ["queued", "sending", "sent"]
        assert await happened(there, "between") == ["queued", "sending", "deferred", "sending", "sent"]
    finally:
        for server in (sleeper, other):
            server.kill()
    assert "Traceback" not in sleeper.log


@asynccontextmanager
async def a_commit_held_up(dsn: str, goes_on: asyncio.Event) -> AsyncIterator[None]:
    """Let a message be begun, and its begin be on record with the end of the block, not before.

    That is done late in its lease: nothing else that the node waits for must run out before the lease does.
    """
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(GATE)
        await connection.execute("SELECT pg_advisory_lock(4711)")
        await until_so(connection, f"SELECT min(lease_until) - {NOW} < 26 FROM messages")
        goes_on.set()
        await until_so(
            connection, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        )
        yield
    finally:
        await connection.close()


async def until_so(connection: asyncpg.Connection[asyncpg.Record], question: str) -> None:
    async with asyncio.timeout(60):
        while not await connection.fetchval(question):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(POLL)


def is_reached(mail: SmtpServer, times: int) -> bool:
    return mail.reached.count(Stage.RCPT) == times


def subjects(mail: SmtpServer) -> Counter[str]:
    """How often each message arrived."""
    found = (re.search(rb"^Subject: (\S+)", each.content, re.MULTILINE) for each in mail.received)
    return Counter(match[1].decode() for match in found if match)


async def happened(client: Client, message_id: str) -> list[str]:
    shown = await asyncio.to_thread(client.get, f"/messages/{message_id}/events?tenant_id=acme")
    return [event["event_type"] for event in shown["events"]]
