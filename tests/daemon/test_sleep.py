"""A real node that is stopped past its leases, as by a machine that sleeps, and then goes on."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
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

GATE = """
CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.event_type = 'sending') EXECUTE FUNCTION wait_at_the_gate();
"""
"""Each commit of a `sending` waits, in the server, until the test lets it."""


@pytest.fixture
async def mail() -> AsyncIterator[SmtpServer]:
    async with SmtpServer().running() as running:
        yield running


async def test_a_sleeper_notices_before_it_sends_on(
    tmp_path: Path, postgres_url: str, mail: SmtpServer
) -> None:
    """Stopped before DATA with one, before the content with another: both are sent by another node alone."""
    key = generate_key()
    sleeper, other = (
        Server(tmp_path / "home", name, database_url=postgres_url, key=key) for name in ("sleeper", "other")
    )
    held = asyncio.Event()
    mail.at = {Stage.RCPT: [held]}
    try:
        await asyncio.to_thread(sleeper.start)
        here = await settle_in(sleeper, mail)
        await submit(here, "before")
        await mail.wait_at(Stage.RCPT)
        async with a_commit_held_up(postgres_url, partial(submit, here, "between")):
            sleeper.send_signal(signal.SIGSTOP)

        await asyncio.to_thread(other.start)
        there = other.client()
        for name in ("before", "between"):
            await until(partial(there.get, f"/messages/{name}?tenant_id=acme"), is_sent, TAKEN_OVER)
        assert subjects(mail) == {"before": 1, "between": 1}

        held.set()
        sleeper.send_signal(signal.SIGCONT)
        await until(lambda: sleeper.log, lambda log: len(re.findall("lease was lost|too late", log)) >= 2)
        here = sleeper.client()  # the server has closed connections that were idle for so long
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
async def a_commit_held_up(dsn: str, act: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Do something, and let its begin be on record with the end of the block, not before."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(GATE)
        await connection.execute("SELECT pg_advisory_lock(4711)")
        await act()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        async with asyncio.timeout(10):
            while not await connection.fetchval(waiting):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(POLL)
        yield
    finally:
        await connection.close()


def subjects(mail: SmtpServer) -> Counter[str]:
    """How often each message arrived."""
    found = (re.search(rb"^Subject: (\S+)", each.content, re.MULTILINE) for each in mail.received)
    return Counter(match[1].decode() for match in found if match)


async def happened(client: Client, message_id: str) -> list[str]:
    shown = await asyncio.to_thread(client.get, f"/messages/{message_id}/events?tenant_id=acme")
    return [event["event_type"] for event in shown["events"]]
