"""Real nodes go by the database's clock: their machines' may be an hour apart, and that one may be set."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mail_proxy.encryption import generate_key
from tests.support.database_clock import a_clock_to_be_set
from tests.support.machine_clock import MachineClock
from tests.support.nodes import POLL, is_sent, settle_in, submit, until
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer, Stage

HALF_AN_HOUR = 1800.0
LIMIT = 5


@pytest.fixture
def nodes(tmp_path: Path, postgres_url: str) -> Iterator[tuple[Server, Server]]:
    """One is half an hour behind the true time, the other as much ahead of it; neither is started."""
    key = generate_key()
    clocks = [
        MachineClock(tmp_path / name, ahead)
        for name, ahead in (("behind", -HALF_AN_HOUR), ("ahead", HALF_AN_HOUR))
    ]
    behind, ahead = (
        Server(tmp_path / "home", name, database_url=postgres_url, key=key, clock=clock)
        for name, clock in zip(("behind", "ahead"), clocks, strict=True)
    )
    yield behind, ahead
    for server in (behind, ahead):
        server.kill()
    for clock in clocks:
        clock.close()


async def test_no_node_takes_over_what_another_holds(nodes: tuple[Server, Server], mail: SmtpServer) -> None:
    """By its own clock each would find the other's leases run out long ago, or good for an hour."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held, held]}
    behind, ahead = nodes
    await asyncio.to_thread(behind.start)
    here = await settle_in(behind, mail)
    await submit(here, "m1")
    await mail.until(lambda: mail.reached.count(Stage.DOT) == 1)

    await asyncio.to_thread(ahead.start)
    there = ahead.client()
    await submit(there, "m2")
    await mail.until(lambda: mail.reached.count(Stage.DOT) == 2)
    for number in range(20):
        await submit(there if number % 2 else here, f"more-{number}")
    await mail.wait_for(20)

    held.set()
    for name in ("m1", "m2"):
        shown = await until(partial(here.get, f"/messages/{name}?tenant_id=acme"), is_sent)
        assert abs(shown["created_at"] - time.time()) < 60
        events = await asyncio.to_thread(there.get, f"/messages/{name}/events?tenant_id=acme")
        assert [event["event_type"] for event in events["events"]] == ["queued", "sending", "sent"]
    assert len(mail.received) == 22
    assert "this machine's clock is 1800 s behind the database's" in behind.log
    assert "this machine's clock is 1800 s ahead of the database's" in ahead.log


async def test_a_limit_is_one_for_both(nodes: tuple[Server, Server], mail: SmtpServer) -> None:
    """What one sent half an hour ago by the other's clock was sent just now."""
    behind, ahead = nodes
    await asyncio.to_thread(behind.start)
    here = await settle_in(behind, mail, limit_per_minute=LIMIT)
    await submit(here, *(f"m{number}" for number in range(2 * LIMIT)))
    await mail.wait_for(LIMIT)

    await asyncio.to_thread(ahead.start)
    there = ahead.client()
    for number in range(10):
        await submit(there if number % 2 else here, f"more-{number}")
        await asyncio.to_thread(there.post, "/commands/run-now")
    waiting = f"/messages?tenant_id=acme&limit={4 * LIMIT}"
    await until(partial(there.get, waiting), lambda found: len(found["messages"]) == 2 * LIMIT + 10)
    assert len(mail.received) == LIMIT


async def test_the_databases_own_clock_may_be_set(
    nodes: tuple[Server, Server], mail: SmtpServer, postgres_url: str
) -> None:
    """Forwards and back: each node learns of it in its own time, and keeps what it is sending."""
    held = asyncio.Event()
    mail.at = {Stage.DOT: [held, held]}
    async with a_clock_to_be_set(postgres_url) as set_clock:
        for server in nodes:
            await asyncio.to_thread(server.start)
        here, there = await settle_in(nodes[0], mail), nodes[1].client()
        await submit(here, "m1")
        await submit(there, "m2")
        await mail.until(lambda: mail.reached.count(Stage.DOT) == 2)
        numbers = itertools.count()
        for ahead, way in ((HALF_AN_HOUR, "forwards"), (0.0, "back")):
            await set_clock(ahead)
            while not all(f"the clock was set {way}" in server.log for server in nodes):
                number = next(numbers)
                await submit(there if number % 2 else here, f"more-{number}")
                await asyncio.sleep(POLL)
        held.set()
        for name in ("m1", "m2"):
            await until(partial(here.get, f"/messages/{name}?tenant_id=acme"), is_sent)
            events = await asyncio.to_thread(there.get, f"/messages/{name}/events?tenant_id=acme")
            assert [event["event_type"] for event in events["events"]] == ["queued", "sending", "sent"]
        await mail.wait_for(2 + next(numbers))
        assert len(mail.received) == len({each.content for each in mail.received})


async def test_a_machine_whose_clock_is_set_goes_on_as_before(
    tmp_path: Path, postgres_url: str, mail: SmtpServer
) -> None:
    """Forwards by an hour, then back: what it is sending stays its own, and what waits stays as due."""
    clock = MachineClock(tmp_path / "clock")
    server = Server(tmp_path / "home", database_url=postgres_url, clock=clock)
    await asyncio.to_thread(server.start)
    try:
        held = asyncio.Event()
        mail.at = {Stage.DOT: [held]}
        client = await settle_in(server, mail)
        await submit(client, "later", deferred_ts=time.time() + 600)
        await submit(client, "m1")
        await mail.wait_at(Stage.DOT)
        for number, ahead in enumerate((3600.0, -3600.0)):
            clock.set(ahead)
            await submit(client, f"more-{number}")
            await mail.wait_for(number + 1)
        held.set()
        await until(partial(client.get, "/messages/m1?tenant_id=acme"), is_sent)
        assert (await asyncio.to_thread(client.get, "/messages/later?tenant_id=acme"))["status"] == "deferred"
        assert len(mail.received) == 3
    finally:
        await asyncio.to_thread(server.kill)
        clock.close()
