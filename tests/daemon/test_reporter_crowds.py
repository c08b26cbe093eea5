"""However many applications hang, those that work are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from mail_proxy.daemon import reporter
from mail_proxy.daemon.reporter import MOST_FAILING
from mail_proxy.daemon.telling import TRIAL
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


async def hang(desk: Reporting, application: Application, count: int) -> None:
    """Let as many tenants have an application that did not take its last post, and has news."""
    for number in range(count):
        await desk.add_tenant(f"hung{number}", application.url)
        await desk.happen("m1", "sent", tenant_id=f"hung{number}")
    await desk.rig.execute("UPDATE sync_state SET failures = 1 WHERE tenant_id LIKE 'hung%'")


async def test_applications_in_trouble_are_tried_some_at_a_time(desk: Reporting) -> None:
    """One that works is told beside them; when one of them is done, the next is tried."""
    held = asyncio.Event()
    async with Application(Answer(held=held)) as hanging:
        await hang(desk, hanging, MOST_FAILING + 3)
        await desk.reporter.step()
        await hanging.wait_for(lambda posts: len(posts) == MOST_FAILING)
        await desk.happen("m1", "sent")
        await desk.reporter.step()
        await desk.app.wait_for(lambda posts: len(posts) == 1)
        assert len(hanging.posts) == MOST_FAILING

        await desk.reporter.wake.wait(0)
        held.set()
        await desk.reporter.idle()
        async with asyncio.timeout(60):
            await desk.reporter.wake.wait(None)
        await desk.work()
        assert len(hanging.posts) == MOST_FAILING + 3
    assert await desk.pending("hung0") == 0


async def test_an_application_in_trouble_is_tried_with_a_few_events(desk: Reporting) -> None:
    """And told the rest when it takes them."""
    desk.app.script = [Answer(status=500)]
    await desk.happen("m1", *["deferred"] * (TRIAL * 3))
    await desk.work()
    desk.rig.time.advance(10)
    await desk.work()
    assert [len(post.entries) for post in desk.app.posts] == [TRIAL * 3, TRIAL, TRIAL * 2]
    assert await desk.pending(TENANT) == 0


async def test_what_many_events_carry_goes_in_several_posts(desk: Reporting) -> None:
    """Few servers take bodies of any size."""
    await desk.happen("m1", *["deferred"] * 10)
    reason = "x" * 200_000
    await desk.rig.execute(f'UPDATE events SET event_data = \'{{"reason": "{reason}"}}\' WHERE is_due = 1')
    await desk.work()
    assert [len(post.entries) for post in desk.app.posts] == [2] * 5
    assert max(len(post.body) for post in desk.app.posts) < 512 * 1024


async def test_each_application_in_trouble_gets_its_turn(
    desk: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose name comes last, while there is never room for all that are due."""
    monkeypatch.setattr(reporter, "MOST_FAILING", 2)
    async with Application(Answer(status=500)) as failing:
        await hang(desk, failing, 5)
        for _ in range(3):
            await desk.work()
            await desk.rig.execute("UPDATE sync_state SET next_try_ts = NULL")
        assert len({entry["tenant_id"] for entry in failing.entries}) == 5


async def test_applications_that_always_have_news_leave_room_for_the_others(
    desk: Reporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For those whose names come later, and for one in trouble, which may take its news by now."""
    monkeypatch.setattr(reporter, "MOST", 2)
    for name in ("b1", "b2", "b3", "b4"):
        await desk.add_tenant(name, desk.app.url)
    await desk.happen("m1", "sent", tenant_id="b4")
    await desk.rig.execute("UPDATE sync_state SET failures = 1 WHERE tenant_id = 'b4'")
    for number in range(3):
        for name in (TENANT, "b1", "b2", "b3"):
            await desk.happen(f"m{number}", "sent", tenant_id=name)
        await desk.work()
    assert {entry["tenant_id"] for entry in desk.app.entries} == {TENANT, "b1", "b2", "b3", "b4"}
