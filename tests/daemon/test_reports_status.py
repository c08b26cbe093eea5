"""`GET /tenants/sync-status` tells what the application has seen and will see (contract: reports.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.api import Json
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.pacing import Heard, Pacing, pacing

POLL = 600.0
DAY = 24 * 3600


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Pacing]:
    async with pacing(database_url) as made:
        made.desk.reporter = made.desk.anew(send_loop_interval=POLL)
        await made.desk.work()
        yield made


async def nothing_yet(app: Pacing) -> None:
    """It was never posted to."""


async def told(app: Pacing) -> None:
    await app.happen("m1", "deferred", "sent")
    await app.desk.work()


async def beaten(app: Pacing) -> None:
    """Some empty posts were taken."""
    await app.pass_until(app.now + 700)


async def failing(app: Pacing) -> None:
    await told(app)
    app.answer = Answer(status=503)
    await app.happen("m2", "deferred", "sent")
    await app.pass_until(app.now + 35)


async def failing_without_news(app: Pacing) -> None:
    app.answer = Answer(body={"ok": False, "error": "locked"})
    await app.pass_until(app.now + 335)


async def recovered(app: Pacing) -> None:
    await failing(app)
    app.answer = Answer()
    await app.pass_until(app.now + 100)


async def refusing(app: Pacing) -> None:
    """It takes one message, and not the other."""
    app.answer = Answer(body={"ok": True, "error": ["m1"]})
    await app.happen("m1", "deferred", "sent")
    await app.happen("m2", "sent")
    await app.pass_until(app.now + 25)


async def undisturbed(app: Pacing) -> None:
    app.answer = Answer(body={"ok": True, "next_sync_after": int(app.now + 5000)})
    await told(app)
    await app.pass_until(app.now + 1000)


async def undisturbed_and_failing(app: Pacing) -> None:
    await undisturbed(app)
    app.answer = Answer(status=500)
    await app.happen("m2", "sent")
    await app.pass_until(app.now + 15)


async def with_more(app: Pacing) -> None:
    """It has more to submit, for too many rounds."""
    app.answer = Answer(body={"ok": True, "queued": 4})
    await told(app)
    await app.pass_until(app.now + 15)


SITUATIONS = [
    nothing_yet, told, beaten, failing, failing_without_news, recovered, refusing, undisturbed,
    undisturbed_and_failing, with_more,
]  # fmt: skip


def is_taken(answer: Answer) -> bool:
    return answer.status == 200 and isinstance(answer.body, dict) and answer.body["ok"] is True


def acknowledged(heard: Heard) -> int:
    """How many of the entries of a post the application took."""
    if not is_taken(heard.answer):
        return 0
    assert isinstance(heard.answer.body, dict)
    refused = heard.answer.body.get("error", [])
    return sum(entry["id"] not in refused for entry in heard.post.entries)


def seen(app: Pacing) -> Json:
    """What the application knows of how telling it goes."""
    taken = [each for each in app.log if is_taken(each.answer)]
    since = app.log[app.log.index(taken[-1]) + 1 :] if taken else app.log
    wishes = [each.answer.body.get("next_sync_after") for each in taken if isinstance(each.answer.body, dict)]
    until = next((wish for wish in reversed(wishes) if wish), 0)
    return {
        "id": TENANT,
        "name": None,
        "active": True,
        "client_base_url": app.desk.app.url,
        "last_sync_ts": int(taken[-1].at) if taken else None,
        "in_dnd": until > app.now,
        "pending_reports": app.happened - sum(acknowledged(each) for each in app.log),
        "consecutive_failures": len(since),
    }


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_the_status_tells_what_the_application_saw(
    app: Pacing, situation: Callable[[Pacing], Awaitable[None]]
) -> None:
    """Also why the last post was not taken, if it was not."""
    await situation(app)
    status = await app.status()
    assert status.pop("next_sync_due") is not None
    error = status.pop("last_error")
    assert status == seen(app)
    if status["consecutive_failures"]:
        (answer,) = {each.answer.status for each in app.log[-status["consecutive_failures"] :]}
        assert (str(answer) if answer != 200 else "ok: false: locked") in error
    else:
        assert error is None


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_the_next_post_comes_when_the_status_says(
    app: Pacing, situation: Callable[[Pacing], Awaitable[None]]
) -> None:
    """Not a second before, and in that second."""
    await situation(app)
    due = (await app.status())["next_sync_due"]
    posts = len(app.log)
    await app.pass_until(due - 0.5)
    assert len(app.log) == posts
    await app.pass_until(due + 1)
    assert app.log[posts].at == pytest.approx(due, abs=1)


@pytest.mark.parametrize("fields", [{"client_base_url": None}, {"active": False}], ids=["no URL", "inactive"])
async def test_nothing_is_due_to_a_tenant_that_is_not_posted_to(app: Pacing, fields: Json) -> None:
    """Not for a day."""
    assert (await app.api.put(f"/tenant/{TENANT}", fields)).status == 200
    await app.pass_until(app.now + POLL)
    assert (await app.status())["next_sync_due"] is None
    await app.pass_until(app.now + DAY)
    assert (app.log, (await app.status())["next_sync_due"]) == ([], None)


async def test_what_cannot_be_told_is_counted(app: Pacing) -> None:
    """A tenant without a URL has its reports pending, and none due."""
    assert (await app.api.put(f"/tenant/{TENANT}", {"client_base_url": None})).status == 200
    await app.happen("m1", "deferred", "sent")
    await app.pass_until(app.now + POLL)
    status = await app.status()
    assert (status["pending_reports"], status["next_sync_due"], status["last_sync_ts"]) == (2, None, None)
    assert app.log == []


async def test_a_tenant_told_by_way_of_the_instances_application_has_a_status_like_others(
    database_url: str,
) -> None:
    """Its own URL is none, and yet it is told."""
    async with Application() as fallback, pacing(database_url, {"GMP_CLIENT_SYNC_URL": fallback.url}) as app:
        assert (await app.api.put(f"/tenant/{TENANT}", {"client_base_url": None})).status == 200
        await app.happen("m1", "sent")
        await app.desk.work()
        status = await app.status()
        assert (status["client_base_url"], status["pending_reports"]) == (None, 0)
        assert (status["last_sync_ts"], status["next_sync_due"]) == (app.now, app.now + 300)
        told = len(fallback.posts)
        await app.pass_until(app.now + 299)
        assert [post.entries for post in fallback.posts[told:]] == []
