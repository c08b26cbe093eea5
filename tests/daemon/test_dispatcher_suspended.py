"""What is suspended is not sent, whatever was under way when the suspension came, and on whatever node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from mail_proxy.daemon.dispatcher import Dispatcher
from mail_proxy.daemon.housekeeping import Housekeeping
from mail_proxy.encryption import Vault
from mail_proxy.services.suspensions import SuspensionsService
from mail_proxy.store import Store, open_database
from tests.support.dispatching import OWNER, TENANT, Dispatching, running
from tests.support.smtp_server import SmtpServer, Stage
from tests.support.stores import KEY, target_of

B = "campaign"
OTHER = "node-b"
LEASE = 30


def suspensions(rig: Dispatching) -> SuspensionsService:
    return rig.runtime.services.suspensions


def subjects(server: SmtpServer) -> list[str]:
    """What has arrived, by subject."""
    return sorted(
        line.removeprefix("Subject: ")
        for mail in server.received
        for line in mail.content.decode().splitlines()
        if line.startswith("Subject: ")
    )


async def test_a_batch_waits_while_the_others_go_on(rig: Dispatching, server: SmtpServer) -> None:
    await rig.queue("held", batch_code=B)
    await rig.queue("free", batch_code="other")
    await suspensions(rig).suspend(TENANT, B)
    await rig.work()
    assert subjects(server) == ["free"]
    assert await rig.status("held") == "pending"

    await suspensions(rig).activate(TENANT, B)
    await rig.work()
    assert subjects(server) == ["free", "held"]
    assert await rig.happened("held") == ["queued", "suspended", "activated", "sending", "sent"]


async def test_all_of_a_tenant_waits_while_another_tenant_goes_on(
    rig: Dispatching, server: SmtpServer
) -> None:
    await rig.add_account(server, tenant_id="beta")
    await suspensions(rig).suspend(TENANT)
    await rig.queue("a", "b")
    await rig.queue("theirs", tenant_id="beta")
    await rig.work()
    assert subjects(server) == ["theirs"]

    await suspensions(rig).activate(TENANT)
    await rig.work()
    assert subjects(server) == ["a", "b", "theirs"]


async def test_what_has_been_claimed_and_not_begun_goes_back(rig: Dispatching, server: SmtpServer) -> None:
    """It waits in its place, at once: no lease has to run out."""
    held = asyncio.Event()
    server.at = {Stage.RCPT: [held]}
    await rig.queue("m1", batch_code=B)
    await rig.dispatcher.step()
    await server.wait_at(Stage.RCPT)
    await suspensions(rig).suspend(TENANT, B)
    held.set()
    await rig.dispatcher.idle()
    assert (server.received, await rig.status("m1")) == ([], "pending")
    assert await rig.happened("m1") == ["queued", "suspended"]

    await suspensions(rig).activate(TENANT, B)
    await rig.work()
    assert subjects(server) == ["m1"]


async def test_what_waits_for_its_turn_goes_back_as_well(rig: Dispatching, server: SmtpServer) -> None:
    """More is claimed than there are conversations."""
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    held = asyncio.Event()
    server.at = {Stage.RCPT: held}
    await rig.queue("m1", "m2", "m3", batch_code=B)
    await rig.dispatcher.step()
    await server.wait_at(Stage.RCPT)
    await suspensions(rig).suspend(TENANT)
    held.set()
    await rig.dispatcher.idle()

    assert server.received == []
    assert {await rig.status(each) for each in ("m1", "m2", "m3")} == {"pending"}


async def test_what_is_being_transmitted_is_finished(rig: Dispatching, server: SmtpServer) -> None:
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.queue("m1", batch_code=B)
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)
    await suspensions(rig).suspend(TENANT)
    held.set()
    await rig.dispatcher.idle()

    assert (subjects(server), await rig.status("m1")) == (["m1"], "sent")


async def test_what_was_put_off_waits_for_the_activation_when_its_time_comes(
    rig: Dispatching, server: SmtpServer
) -> None:
    server.at = {Stage.RCPT: ["450 4.2.0 later"]}
    await rig.queue("m1")
    await rig.work()
    await suspensions(rig).suspend(TENANT)
    rig.time.advance(3600)
    await rig.work(2)
    assert (server.received, await rig.status("m1")) == ([], "pending")

    await suspensions(rig).activate(TENANT)
    await rig.work()
    assert subjects(server) == ["m1"]


async def test_what_is_submitted_anew_while_suspended_is_held_and_then_sent_once(
    rig: Dispatching, server: SmtpServer
) -> None:
    """As it was submitted last."""
    await rig.queue("m1", batch_code=B)
    await suspensions(rig).suspend(TENANT, B)
    await rig.queue("m1", batch_code=B, subject="second")
    await rig.work()
    assert server.received == []

    await suspensions(rig).activate(TENANT, B)
    await rig.work()
    assert subjects(server) == ["second"]
    assert await rig.happened("m1") == [
        *("queued", "suspended", "replaced", "suspended", "activated", "sending", "sent"),
    ]


async def test_what_is_submitted_anew_in_another_batch_goes(rig: Dispatching, server: SmtpServer) -> None:
    await rig.queue("m1", batch_code=B)
    await suspensions(rig).suspend(TENANT, B)
    await rig.queue("m1", batch_code="other")
    await rig.work()
    assert subjects(server) == ["m1"]


@pytest.mark.parametrize("batch_code", [B, None])
async def test_what_comes_while_suspended_is_taken_and_held(
    rig: Dispatching, server: SmtpServer, batch_code: str | None
) -> None:
    await suspensions(rig).suspend(TENANT, batch_code)
    await rig.queue("m1", batch_code=B)
    await rig.queue("later", batch_code=B, deferred_ts=rig.clock.now() + 60)
    rig.time.advance(61)
    await rig.work(2)
    assert server.received == []

    await suspensions(rig).activate(TENANT, batch_code)
    await rig.work()
    assert subjects(server) == ["later", "m1"]


async def test_a_new_life_knows_what_is_suspended(rig: Dispatching, server: SmtpServer) -> None:
    """What was in hand when the last one ended is held with the rest."""
    await rig.queue("m1", "m2", batch_code=B)
    lane, now = (await rig.store.accounts.get(TENANT, "main")).lane, rig.clock.now()
    assert (await rig.store.queue.claim(lane, 1, OWNER, now, now + LEASE)).messages
    await suspensions(rig).suspend(TENANT, B)
    await rig.queue("free")
    async with running(rig.node(OWNER)):
        await server.wait_for(1)

    assert subjects(server) == ["free"]
    assert [await rig.happened(each) for each in ("m1", "m2")] == [["queued", "suspended"]] * 2


async def test_what_a_process_that_died_left_to_mark_any_node_marks(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Whoever activated died before a flag was cleared: with its next sign of life a node does it."""
    await rig.queue("m1", batch_code=B)
    await suspensions(rig).suspend(TENANT, B)
    await rig.store.suspensions.activate(TENANT, B)
    await rig.work()
    assert server.received == []

    await Housekeeping(rig.runtime, rig.agent, lambda asked: None).step()
    await rig.work()
    assert subjects(server) == ["m1"]


async def test_a_suspension_on_one_node_stops_the_other(
    rig: Dispatching, server: SmtpServer, database_url: str
) -> None:
    """Also what it has claimed; and when it is lifted, either of them sends."""
    held = asyncio.Event()
    server.at = {Stage.RCPT: [held]}
    async with second_node(rig, database_url) as other:
        await rig.queue("m1", "m2", batch_code=B)
        await rig.execute("UPDATE accounts SET batch_size = 1, max_concurrent = 1")
        await other.step()
        await server.wait_at(Stage.RCPT)
        await suspensions(rig).suspend(TENANT, B)
        held.set()
        await other.idle()
        await rig.work()
        await other.step()
        await other.idle()
        assert server.received == []

        await suspensions(rig).activate(TENANT, B)
        await asyncio.gather(other.step(), rig.dispatcher.step())
        await asyncio.gather(other.idle(), rig.dispatcher.idle())
        assert subjects(server) == ["m1", "m2"]


@asynccontextmanager
async def second_node(rig: Dispatching, database_url: str) -> AsyncIterator[Dispatcher]:
    """A dispatcher with connections of its own to the same database."""
    async with open_database(target_of(database_url), database_url) as database:
        yield replace(rig, store=Store.over(database, Vault(KEY))).node(OTHER)
