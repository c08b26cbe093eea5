"""A directory of an instance that is copied for a second server: both have the same node id in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mail_proxy.encryption import generate_key
from tests.support.nodes import call, is_sent, settle_in, submit, until
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer, Stage


@pytest.fixture
async def servers(postgres_url: str, tmp_path: Path) -> AsyncIterator[tuple[Server, Server]]:
    """One that runs, and one that does not; they share a database."""
    key = generate_key()
    first, second = (
        Server(tmp_path, name, database_url=postgres_url, key=key) for name in ("first", "second")
    )
    await asyncio.to_thread(first.start)
    try:
        yield first, second
    finally:
        await asyncio.to_thread(first.kill)
        await asyncio.to_thread(second.kill)


async def test_a_copy_does_not_take_what_the_other_sends_for_its_own(
    servers: tuple[Server, Server], mail: SmtpServer
) -> None:
    """It goes by an id of its own, and says so."""
    first, copy = servers
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held]}
    client = await settle_in(first, mail)
    await submit(client, "m1")
    await mail.wait_at(Stage.DOT)

    copy.directory.mkdir(mode=0o700)
    shutil.copy2(first.directory / "node", copy.directory / "node")
    await asyncio.to_thread(copy.start)
    assert copy.node_id == first.node_id
    assert "another server has the id of this instance's directory" in copy.log
    assert (await call(client, "/messages/m1?tenant_id=acme"))["status"] == "sending"

    held.set()
    await until(lambda: client.get("/messages/m1?tenant_id=acme"), is_sent)
    assert len(mail.received) == 1


async def test_a_server_that_died_has_its_own_id_again(
    servers: tuple[Server, Server], mail: SmtpServer
) -> None:
    """What it was sending is taken back at once, not when its lease has run out."""
    server, _ = servers
    mail.at = {Stage.RCPT: [asyncio.Event()]}
    client = await settle_in(server, mail)
    await submit(client, "m1")
    await mail.wait_at(Stage.RCPT)

    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    client = server.client()
    await until(lambda: client.get("/messages/m1?tenant_id=acme"), is_sent)
    assert "another server has the id" not in server.log
