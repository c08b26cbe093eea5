"""The reporter by itself: when it looks, when it pauses, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import pytest

from mail_proxy.daemon import reporter
from mail_proxy.daemon.reporter import SILENT
from mail_proxy.daemon.telling import BATCH
from tests.support.application import Answer, Application
from tests.support.reporting import Reporting, reporting


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


async def test_the_run_tells_when_it_is_rung(desk: Reporting) -> None:
    """And ends when it is stopped."""
    run = asyncio.create_task(desk.reporter.run())
    await desk.rig.database.until_done("look")
    await desk.happen("m1", "sent")
    desk.reporter.wake.set()
    await desk.gather()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    desk.reporter.stop()
    await desk.gather()
    await run
    assert await desk.pending() == 0


async def test_a_stop_tells_what_happened_last(desk: Reporting) -> None:
    """The outcomes of a drain, recorded a moment before, do not wait for the next start."""
    run = asyncio.create_task(desk.reporter.run())
    await desk.rig.database.until_done("look")
    await desk.happen("m1", "sent")
    desk.reporter.stop()
    await desk.gather()
    await run
    assert desk.told == [("m1", "sent")]


async def test_a_stop_waits_for_the_post_under_way_and_begins_no_other_batch(desk: Reporting) -> None:
    """What was answered is acknowledged; the rest is for the next life."""
    held = asyncio.Event()
    desk.app.answer = Answer(held=held)
    await desk.happen("m1", *["deferred"] * (BATCH + 1))
    run = asyncio.create_task(desk.reporter.run())
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    looks = desk.rig.database.done["look"]
    desk.reporter.stop()
    await desk.gather()
    await desk.rig.database.until_done("look", looks + 1)  # the last one: whoever is free then has a turn
    held.set()
    await run
    assert [len(post.entries) for post in desk.app.posts] == [BATCH]
    assert await desk.pending() == 1


async def test_looks_that_take_long_are_rare(desk: Reporting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among very many tenants they would keep the database busy."""
    step = desk.reporter.step

    async def slow_step() -> float:
        desk.rig.time.advance(0.03)
        return await step()

    monkeypatch.setattr(desk.reporter, "step", slow_step)
    run = asyncio.create_task(desk.reporter.run())
    desk.reporter.wake.set()
    await desk.rig.time.until_asleep(0.12)
    desk.reporter.stop()
    desk.rig.time.advance(0.12)
    await run


async def test_in_test_mode_only_run_now_tells(desk: Reporting) -> None:
    made = desk.reporter = desk.anew(test_mode=True, send_loop_interval=0.01)
    await desk.happen("m1", "sent")
    run = asyncio.create_task(made.run())
    made.wake.set()
    await desk.gather()
    assert desk.rig.database.done["look"] == 0
    made.wake.set(run_now=True)
    await desk.gather()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    await made.idle()
    await desk.happen("m2", "sent")
    made.stop()
    await desk.gather()
    await run
    assert desk.told == [("m1", "sent")]


async def test_a_database_away_pauses_reporting_and_is_told_once(
    desk: Reporting, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mail_proxy.daemon.outage")
    desk.rig.database.away = {"look": 2}
    await desk.happen("m1", "sent")
    run = asyncio.create_task(desk.reporter.run())
    for failures in (1, 2):
        await desk.rig.database.until_refused("look", failures)
        desk.reporter.wake.set()
        await desk.gather()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    desk.reporter.stop()
    await desk.gather()
    await run
    assert [record.getMessage() for record in caplog.records] == [
        "reporting pauses: the test's database is away for look",
        "reporting goes on",
    ]


async def test_a_bug_ends_the_run_with_what_it_raised(desk: Reporting) -> None:
    await desk.happen("m1", "sent")
    await desk.rig.execute("UPDATE messages SET metadata = 'not JSON'")
    run = asyncio.create_task(desk.reporter.run())
    with pytest.raises(json.JSONDecodeError):
        await run


async def test_a_refused_message_makes_no_busy_loop(desk: Reporting) -> None:
    """While it waits, a look finds nothing to post and rings no new look."""
    desk.app.answer = Answer(body={"ok": True, "error": ["m1"]})
    await desk.happen("m1", "sent")
    await desk.work()
    await desk.reporter.wake.wait(0)
    await desk.work()
    assert await desk.reporter.wake.wait(0) is False
    looks = desk.rig.database.done["look"]
    run = asyncio.create_task(desk.reporter.run())
    await desk.rig.database.until_done("look", looks + 1)
    await desk.reporter.idle()
    assert desk.rig.database.done["look"] == looks + 1
    desk.reporter.stop()
    await desk.gather()
    await run


async def test_a_stop_does_not_wait_for_an_application_that_hangs(desk: Reporting) -> None:
    """What was not answered stays to be told, by whoever comes next, at once."""
    desk.app.answer = Answer(hang=True)
    await desk.happen("m1", "sent")
    made = desk.node("stopping", grace=0.01)
    run = asyncio.create_task(made.run())
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    made.stop()
    await desk.gather()
    await run
    desk.app.answer = Answer()
    desk.reporter = desk.node("another")
    await desk.work()
    assert desk.told == [("m1", "sent"), ("m1", "sent")]
    assert await desk.pending() == 0


async def test_applications_that_have_been_silent_for_a_while_keep_no_other_waiting(
    desk: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need not have failed yet; while there is no room, the reporter looks again when there may be."""
    monkeypatch.setattr(reporter, "MOST", 2)
    async with Application(Answer(hang=True)) as hanging:
        for name in ("a1", "a2"):
            await desk.add_tenant(name, hanging.url)
            await desk.happen("m1", "sent", tenant_id=name)
        await desk.reporter.step()
        await hanging.wait_for(lambda posts: len(posts) == 2)
        await desk.happen("m1", "sent")
        assert await desk.reporter.step() == SILENT
        assert desk.told == []

        desk.rig.time.advance(SILENT)
        await desk.reporter.step()
        await desk.app.wait_for(lambda posts: len(posts) == 1)
        await hanging.close()
        await desk.reporter.idle()
