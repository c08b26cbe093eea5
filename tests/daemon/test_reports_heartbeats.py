"""Empty posts: to whom, how often, and what Do Not Disturb holds back (contract: reports.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from tests.support.api import ADMIN
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.pacing import STEP, Pacing, pacing

INTERVAL = 300.0
HOUR = 3600.0
POLL = 600.0
"""Seconds between the looks that nothing asks for: more than the interval, so that none of them helps."""


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Pacing]:
    async with pacing(database_url) as made:
        made.desk.reporter = made.desk.anew(send_loop_interval=POLL)
        yield made


def gaps(moments: list[float]) -> list[float]:
    return [round(later - earlier, 1) for earlier, later in pairwise(moments)]


async def test_an_application_hears_every_interval(app: Pacing) -> None:
    """The first time an interval after it is known; three hours have 36."""
    begin = app.now
    await app.pass_until(begin + 3 * HOUR)
    assert gaps([begin, *app.beats]) == [INTERVAL] * 36
    assert app.heard == [(moment, 0) for moment in app.beats]


async def test_a_post_with_news_is_one_too(app: Pacing) -> None:
    """The interval begins anew with it."""
    await app.desk.work()
    app.desk.rig.time.advance(200)
    await app.happen("m1", "sent")
    await app.desk.work()
    news = app.now
    await app.pass_until(news + HOUR)
    assert gaps([news, *app.beats]) == [INTERVAL] * 12


async def test_a_restarted_server_keeps_the_rhythm(app: Pacing) -> None:
    """Neither does everybody hear at once when it starts, nor later than it should."""
    begin = app.now
    for _ in range(10):
        await app.pass_until(app.now + 200)
        app.desk.reporter = app.desk.anew(send_loop_interval=POLL)
    assert gaps([begin, *app.beats]) == [INTERVAL] * 6


async def test_two_nodes_post_no_more_often_than_one(app: Pacing) -> None:
    """One of them has the tenant at a time."""
    begin = app.now
    nodes = [app.desk.node(name, send_loop_interval=POLL) for name in ("node-b", "node-c")]
    while app.now < begin + HOUR:
        for node in nodes:
            app.desk.reporter = node
            await app.pass_until(app.now)
        app.desk.rig.time.advance(50)
    assert gaps([begin, *app.beats]) == [INTERVAL] * 11


async def test_only_the_active_that_can_be_told_hear(app: Pacing) -> None:
    """Not one without a URL nor an inactive one; each from when that changes, and until then."""
    async with Application() as other:
        await app.desk.add_tenant("quiet", None)
        await app.desk.add_tenant("asleep", f"{other.url}/asleep")
        await change(app, "asleep", active=False)
        await app.pass_until(app.now + HOUR)
        assert (len(app.beats), other.posts) == (12, [])

        await change(app, "quiet", client_base_url=f"{other.url}/quiet")
        await change(app, "asleep", active=True)
        await change(app, TENANT, active=False)
        app.log.clear()
        await app.pass_until(app.now + POLL)
        await app.pass_until(app.now + HOUR)
        assert app.heard == []
        for path in ("/quiet/mail-proxy/sync", "/asleep/mail-proxy/sync"):
            assert sum(post.target == path for post in other.posts) in (12, 13, 14)

        await change(app, "quiet", client_base_url=None)
        await change(app, "asleep", active=False)
        other.posts.clear()
        await app.pass_until(app.now + HOUR)
        assert other.posts == []


async def test_the_instances_application_hears_for_those_that_have_none(app: Pacing) -> None:
    """For each of them: `default` and the quiet one."""
    await app.desk.add_tenant("quiet", None)
    async with Application() as fallback:
        app.desk.reporter = app.desk.anew(send_loop_interval=POLL, client_sync_url=f"{fallback.url}/all")
        await app.pass_until(app.now + HOUR)
        assert {post.target for post in fallback.posts} == {"/all"}
        assert [post.entries for post in fallback.posts] == [[]] * 24
    assert len(app.beats) == 12


async def test_one_that_fails_is_tried_again_with_growing_pauses(app: Pacing) -> None:
    """And once it answers, the interval is that of before."""
    app.answer = Answer(status=500)
    await app.pass_until(app.now + INTERVAL + 900)
    assert gaps(app.beats) == [10, 20, 40, 80, 160, 300]
    app.answer = Answer()
    app.log.clear()
    await app.pass_until(app.now + HOUR)
    assert gaps(app.beats) == [INTERVAL] * (len(app.beats) - 1)
    assert len(app.beats) in (11, 12)


async def test_do_not_disturb_holds_what_has_no_news(app: Pacing) -> None:
    """Until the moment that the application named, and what comes after is as before; news come at once."""
    app.answer = Answer(body={"ok": True, "next_sync_after": app.now + 2 * HOUR})
    until = app.now + 2 * HOUR
    await app.pass_until(app.now + INTERVAL)
    assert [entries for _, entries in app.heard] == [0]
    app.answer = Answer()
    for number in range(5):
        app.desk.rig.time.advance(1000)
        await app.happen(f"m{number}", "sent")
        await app.desk.work()
        assert app.heard[-1] == (app.now, 1)
        assert (await app.status())["in_dnd"] is True
    await app.pass_until(until - 1)
    assert len(app.heard) == 6
    await app.pass_until(until + HOUR)
    assert app.beats[1] == pytest.approx(until, abs=2 * STEP)
    assert gaps(app.beats[1:]) == [INTERVAL] * 12
    assert (await app.status())["in_dnd"] is False


async def test_do_not_disturb_is_lifted_by_the_tenant_alone(app: Pacing) -> None:
    """The admin's run-now tells news, and disturbs nobody who has none."""
    app.answer = Answer(body={"ok": True, "next_sync_after": app.now + 2 * HOUR})
    await app.pass_until(app.now + INTERVAL)
    app.answer = Answer()
    app.log.clear()
    for query in ("", f"?tenant_id={TENANT}"):
        await app.run_now(ADMIN, query)
        assert (await app.status())["in_dnd"] is True
    assert app.heard == []

    await app.run_now(app.key)
    assert app.heard == [(app.now, 0)]
    assert (await app.status())["in_dnd"] is False
    await app.pass_until(app.now + HOUR)
    assert gaps(app.beats) == [INTERVAL] * 12


async def test_who_is_not_in_do_not_disturb_hears_at_once_when_asked(app: Pacing) -> None:
    """By the tenant's token, and by the admin's for this tenant; the admin's for all does not disturb."""
    await app.run_now(app.key)
    assert app.heard == [(app.now, 0)]
    app.desk.rig.time.advance(1)
    await app.run_now(ADMIN, f"?tenant_id={TENANT}")
    assert app.heard[1:] == [(app.now, 0)]
    app.desk.rig.time.advance(1)
    await app.run_now(ADMIN)
    assert len(app.heard) == 2


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "moment",
    [
        0,
        -1,
        1,
        "soon",
        True,
        None,
        [],
        pytest.param(1e300, id="1e300"),
        pytest.param(10**400, id="a googol^4"),
    ],
)
async def test_a_moment_that_is_none_disturbs_as_before(app: Pacing, moment: object) -> None:
    """It is past, or no time at all."""
    app.answer = Answer(body={"ok": True, "next_sync_after": moment})
    begin = app.now
    await app.pass_until(begin + HOUR)
    assert gaps([begin, *app.beats]) == [INTERVAL] * 12


async def change(app: Pacing, tenant_id: str, **fields: object) -> None:
    answer = await app.api.put(f"/tenant/{tenant_id}", fields)
    assert answer.status == 200, answer.text
