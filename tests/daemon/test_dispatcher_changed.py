"""An account that is changed or deleted while much of what waits for it has been taken by a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.dispatching import TENANT, Dispatching
from tests.support.smtp_server import SmtpServer, Stage

NAMES = ("m1", "m2", "m3", "m4")


@pytest.fixture
async def held(rig: Dispatching, server: SmtpServer) -> AsyncIterator[asyncio.Event]:
    """The first of four messages is in its final step until this is set, the others wait for their turn."""
    event = asyncio.Event()
    server.at = {Stage.DOT: [event]}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue(*NAMES)
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)
    assert [await rig.status(name) for name in NAMES] == ["sending"] * 4
    rig.time.advance(1)
    yield event
    event.set()


async def test_what_waits_for_its_turn_goes_where_the_account_points_now(
    rig: Dispatching, server: SmtpServer, held: asyncio.Event
) -> None:
    """The old server, which may be slow, or wrong, or another's by now, gets no more of it."""
    async with SmtpServer().running() as other:
        await rig.store.accounts.change(
            TENANT, "main", lambda account: replace(account, port=other.port), rig.clock.now()
        )
        await rig.dispatcher.step()
        held.set()
        await rig.dispatcher.idle()
        await rig.work(2)
        assert len(server.received) == 1
        assert len(other.received) == 3
    assert [await rig.happened(name) for name in NAMES] == [["queued", "sending", "sent"]] * 4


async def test_what_waits_for_its_turn_does_not_go_through_a_deleted_account(
    rig: Dispatching, server: SmtpServer, held: asyncio.Event
) -> None:
    """What is in a conversation is finished, and told."""
    await rig.runtime.services.accounts.delete(TENANT, "main", force=True)
    await rig.dispatcher.step()
    held.set()
    await rig.dispatcher.idle()
    await rig.work()
    assert len(server.received) == 1
    assert [await rig.status(name) for name in NAMES] == ["sent", "error", "error", "error"]
    assert (await rig.message("m4")).error == "account deleted"


async def test_a_look_that_finds_the_account_as_it_was_leaves_what_waits(
    rig: Dispatching, held: asyncio.Event
) -> None:
    """Its place near the server was paid for: it is not taken and given back at every look."""
    await rig.dispatcher.step()
    assert [await rig.status(name) for name in NAMES] == ["sending"] * 4
    held.set()
    await rig.dispatcher.idle()
    assert [await rig.status(name) for name in NAMES] == ["sent"] * 4
    assert rig.database.done["release"] == 0
