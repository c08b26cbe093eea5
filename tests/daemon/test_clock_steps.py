"""The clock by which all goes is set while messages are under way: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import pytest

from tests.support.dispatching import OWNER, Dispatching
from tests.support.machine_clock import MachineClock
from tests.support.nodes import is_sent, settle_in, submit, until
from tests.support.server import Server
from tests.support.smtp_server import SmtpServer, Stage

HOUR = 3600.0
STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forwards", "back"])


@STEPS
@pytest.mark.parametrize("looks", [True, False], ids=["and it looks", "and it does not look"])
@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DOT])
async def test_what_is_in_flight_arrives_once(
    rig: Dispatching, server: SmtpServer, stage: Stage, step: float, *, looks: bool
) -> None:
    """Its lease seems to have run out, or to be good for an hour; nobody else has it."""
    held = asyncio.Event()
    server.at = {stage: [held]}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(stage)

    rig.time.advance(step)
    if looks:
        await rig.dispatcher.step()
    held.set()
    await rig.dispatcher.idle()
    await rig.work(2)

    assert await rig.happened("m1") == ["queued", "sending", "sent"]
    assert len(server.received) == 1


@STEPS
async def test_dispatch_goes_on(rig: Dispatching, server: SmtpServer, step: float) -> None:
    """What waits in line goes, what comes then goes, and what was sent stays sent."""
    await rig.queue("before")
    await rig.work()
    await rig.queue("waiting")
    rig.time.advance(step)
    await rig.queue("after")
    await rig.work(2)
    assert len(server.received) == 3
    assert [await rig.status(each) for each in ("before", "waiting", "after")] == ["sent"] * 3


async def test_a_retry_waits_for_the_time_it_was_given(rig: Dispatching, server: SmtpServer) -> None:
    """After a step back that comes later by as much, and once."""
    server.at = {Stage.RCPT: ["451 4.7.1 later"]}
    await rig.queue("m1")
    await rig.work()
    due = (await rig.message("m1")).deferred_ts
    assert due is not None

    rig.time.advance(-HOUR)
    await rig.work(2)
    assert (await rig.message("m1")).deferred_ts == due

    rig.time.advance(due - rig.clock.now())
    await rig.work()
    assert await rig.happened("m1") == ["queued", "deferred", "sending", "sent"]
    assert len(server.received) == 1


async def test_a_retry_is_due_when_the_clock_is_set_beyond_it(rig: Dispatching, server: SmtpServer) -> None:
    server.at = {Stage.RCPT: ["451 4.7.1 later"]}
    await rig.queue("m1")
    await rig.work()
    rig.time.advance(HOUR)
    await rig.work(2)
    assert (await rig.status("m1"), len(server.received)) == ("sent", 1)


async def test_a_limit_holds_when_the_clock_is_set_back(rig: Dispatching, server: SmtpServer) -> None:
    """What was sent in a future that is to come again still counts, until its time has passed."""
    await rig.execute("UPDATE accounts SET limit_per_minute = 2")
    await rig.queue("m1", "m2", "m3")
    await rig.work()
    assert len(server.received) == 2

    rig.time.advance(-HOUR)
    await rig.work(2)
    assert len(server.received) == 2

    rig.time.advance(HOUR + 61)
    await rig.work()
    assert len(server.received) == 3


async def test_a_node_that_died_before_a_step_back_gets_its_messages_at_its_start(
    rig: Dispatching, server: SmtpServer
) -> None:
    """However long its leases seem to be good."""
    await rig.queue("claimed", "final")
    lane = (await rig.store.accounts.get("acme", "main")).lane
    now = rig.clock.now()
    await rig.store.queue.claim(lane, 2, OWNER, now, now + 30)

    rig.time.advance(-HOUR)
    await rig.dispatcher.recover()
    await rig.work()

    assert len(server.received) == 2


async def test_a_real_server_on_a_file_follows_its_machines_clock(tmp_path: Path) -> None:
    """Set forwards while a message is in flight, and back: each arrives once, and the log says why."""
    clock = MachineClock(tmp_path / "clock")
    server = Server(tmp_path / "home", clock=clock)
    async with SmtpServer().running() as mail:
        await asyncio.to_thread(server.start)
        try:
            held = asyncio.Event()
            mail.at = {Stage.DOT: [held]}
            client = await settle_in(server, mail)
            await submit(client, "in-flight")
            await mail.wait_at(Stage.DOT)
            await submit(client, "scheduled", deferred_ts=time.time() + 600)
            clock.set(HOUR)
            await until(partial(client.get, "/messages/scheduled?tenant_id=acme"), is_sent)
            clock.set(-HOUR)
            await submit(client, "after")
            await until(partial(client.get, "/messages/after?tenant_id=acme"), is_sent)
            held.set()
            await until(partial(client.get, "/messages/in-flight?tenant_id=acme"), is_sent)
            assert len(mail.received) == 3
            await until(lambda: server.log, lambda log: "the clock was set back by" in log)
        finally:
            await asyncio.to_thread(server.kill)
            clock.close()
    assert "too late" not in server.log
