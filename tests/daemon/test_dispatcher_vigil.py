"""Nodes that could not watch each other for a while: the living keep what they have, the dead are found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.daemon.vigil import GRACE
from mail_proxy.store import open_database
from mail_proxy.store.shared_clock import SharedClock
from tests.support.database_clock import a_clock_to_be_set
from tests.support.dispatching import OWNER, Dispatching, dispatching
from tests.support.smtp_server import SmtpServer, Stage

OTHER = "node-b"


@pytest.fixture
async def rig(postgres_url: str, server: SmtpServer) -> AsyncIterator[Dispatching]:
    """Only there are there several nodes."""
    async with dispatching(postgres_url) as made:
        await made.add_account(server)
        yield made


async def held_by_the_other(rig: Dispatching, server: SmtpServer) -> tuple[Dispatcher, asyncio.Event]:
    """Let node B be in the final step of a message, its server silent until the event."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    other = rig.node(OTHER, grace=GRACE)
    await rig.queue("m1")
    await other.step()
    await server.wait_at(Stage.DOT)
    return other, held


async def watch(rig: Dispatching, nodes: list[Dispatcher], seconds: float) -> None:
    for _ in range(int(seconds / 5)):
        rig.time.advance(5)
        for node in nodes:
            await node.step()


async def test_leases_that_ran_out_while_nobody_could_renew_them_stay_with_the_living(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The database was away for a minute, or all slept: the first to look finds all of them run out."""
    node = rig.node(OWNER, grace=GRACE)
    other, held = await held_by_the_other(rig, server)
    await watch(rig, [node], 20)

    rig.time.advance(60)
    await node.step()
    await other.step()
    await watch(rig, [node, other], GRACE + 10)
    held.set()
    await other.idle()

    assert await rig.happened("m1") == ["queued", "sending", "sent"]
    assert len(server.received) == 1


async def test_a_node_that_starts_then_takes_nothing_of_the_living(
    rig: Dispatching, server: SmtpServer
) -> None:
    other, held = await held_by_the_other(rig, server)
    rig.time.advance(60)
    node = rig.node(OWNER, grace=GRACE)
    await node.recover()
    await node.step()
    await other.step()
    held.set()
    await other.idle()

    assert await rig.happened("m1") == ["queued", "sending", "sent"]


async def test_a_node_that_does_not_renew_is_dead_after_all(rig: Dispatching, server: SmtpServer) -> None:
    """What it held is taken over once the watch has lasted long enough."""
    node = rig.node(OWNER, grace=GRACE)
    await held_by_the_other(rig, server)
    rig.time.advance(60)
    await node.step()
    assert await rig.happened("m1") == ["queued", "sending"]

    await watch(rig, [node], GRACE + 5)
    await node.idle()

    assert await rig.happened("m1") == ["queued", "sending", "deferred", "sending", "sent"]


async def test_the_one_node_on_a_file_waits_for_nobody(sqlite_url: str, server: SmtpServer) -> None:
    """What has run out there was left by a former life."""
    async with dispatching(sqlite_url) as rig:
        await rig.add_account(server)
        await held_by_the_other(rig, server)
        rig.time.advance(60)
        await rig.work(2)
        assert await rig.happened("m1") == ["queued", "sending", "deferred", "sending", "sent"]


async def test_a_clock_of_the_database_that_is_set_back_makes_nobody_dead(
    postgres_url: str, server: SmtpServer
) -> None:
    """Who knows of it renews for a time that has passed for who does not: that one asks before it judges."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    async with (
        a_clock_to_be_set(postgres_url) as set_clock,
        open_database(postgres_url, postgres_url) as database,
    ):
        knowing, ignorant = [await SharedClock.measured(database) for _ in range(2)]
        async with dispatching(postgres_url, clock=knowing) as rig:
            await rig.add_account(server)
            node = rig.node(OWNER)
            rig.clock = ignorant
            other = rig.node(OTHER)
            await rig.queue("m1")
            for each in (node, other):
                await each.step()
            await server.wait_at(Stage.DOT)

            await set_clock(-3600)
            await knowing.measure()
            for each in (node, other):
                await each.step()
            held.set()
            await node.idle()

            assert await rig.happened("m1") == ["queued", "sending", "sent"]
