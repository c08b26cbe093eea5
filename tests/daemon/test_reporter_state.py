"""How reporting goes is written down for all nodes: who was told when, who fails and since how many posts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.model.reports import SyncState
from tests.support.application import Answer
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


async def state(desk: Reporting, tenant_id: str = TENANT) -> SyncState:
    """As another node reads it."""
    states = await desk.rig.runtime.store.reports.sync_states()
    return next(each for each in states if each.tenant_id == tenant_id)


async def test_a_post_that_is_taken_is_noted(desk: Reporting) -> None:
    assert (await state(desk)).last_sync_ts is None
    await desk.happen("m1", "sent")
    assert (await state(desk)).pending == 1
    await desk.work()
    found = await state(desk)
    assert (found.last_sync_ts, found.failures, found.last_error, found.pending) == (
        desk.rig.clock.now(), 0, None, 0,
    )  # fmt: skip


async def test_failures_are_counted_until_a_success(desk: Reporting) -> None:
    """With the reason of the last one, and the moment of the next try."""
    desk.app.script = [Answer(status=500), Answer(body={"ok": False})]
    await desk.happen("m1", "sent")
    for failures, pause in [(1, 10), (2, 20)]:
        await desk.work()
        found = await state(desk)
        assert (found.failures, found.next_try_ts) == (failures, desk.rig.clock.now() + pause)
        assert found.last_error
        desk.rig.time.advance(pause)
    await desk.work()
    found = await state(desk)
    assert (found.failures, found.last_error, found.next_try_ts) == (0, None, None)
    assert found.last_sync_ts == desk.rig.clock.now()


async def test_a_post_of_which_every_event_is_refused_was_taken(desk: Reporting) -> None:
    """The application answers: it is not the one that fails."""
    desk.app.answer = Answer(body={"ok": True, "error": ["m1"]})
    await desk.happen("m1", "sent")
    await desk.work()
    found = await state(desk)
    assert (found.last_sync_ts, found.failures, found.pending) == (desk.rig.clock.now(), 0, 1)


async def test_a_tenant_whose_secret_is_damaged_is_posted_nothing_until_it_is_given_again(
    desk: Reporting,
) -> None:
    """Its application would refuse what comes without a login, or worse: take it."""
    await desk.happen("m1", "sent")
    await desk.rig.execute(f"UPDATE tenants SET enc_client_auth = 'ENC:AAAA' WHERE id = '{TENANT}'")
    await desk.work()
    found = await state(desk)
    assert (found.failures, desk.app.posts) == (1, [])
    assert found.last_error == "the stored client_auth cannot be decrypted: give it again"

    auth = {"method": "bearer", "token": "t0ken"}
    await desk.rig.runtime.services.tenants.update(TENANT, {"client_auth": auth})
    await desk.work()
    assert desk.told == [("m1", "sent")]
    assert desk.app.posts[0].headers["authorization"] == "Bearer t0ken"


async def test_a_failure_that_cannot_be_written_down_is_no_reason_to_post_at_once(desk: Reporting) -> None:
    """Neither the database nor the application is pressed while both are in trouble."""
    desk.app.answer = Answer(status=500)
    desk.rig.database.away = {"failed": 1}
    await desk.happen("m1", "sent")
    assert await desk.work() > 1
    desk.rig.time.advance(1)
    assert await desk.work() == 1
    assert len(desk.app.posts) == 1
    desk.rig.time.advance(1)
    await desk.work()
    assert (len(desk.app.posts), (await state(desk)).failures) == (2, 1)


async def test_a_tenant_without_an_application_does_not_fail(desk: Reporting) -> None:
    await desk.add_tenant("quiet", None)
    await desk.happen("m1", "sent", tenant_id="quiet")
    await desk.work()
    found = await state(desk, "quiet")
    assert (found.failures, found.last_sync_ts, found.pending) == (0, None, 1)


async def test_an_application_that_is_found_elsewhere_is_told_at_once(desk: Reporting) -> None:
    """Nobody who mends its address has to wait for the next try; other changes do not shorten the pause."""
    tenants = desk.rig.runtime.services.tenants
    await tenants.update(TENANT, {"client_sync_path": "/nowhere"})
    desk.app.answer = lambda post: Answer(status=404 if post.target == "/nowhere" else 200)
    await desk.happen("m1", "sent")
    await desk.work()
    await tenants.update(TENANT, {"name": "Acme", "client_sync_path": "/nowhere"})
    await desk.work()
    assert [post.target for post in desk.app.posts] == ["/nowhere"]

    await tenants.update(TENANT, {"client_sync_path": "/reports"})
    await desk.work()
    assert [post.target for post in desk.app.posts] == ["/nowhere", "/reports"]
    assert await desk.pending() == 0


async def test_an_application_that_is_no_more_does_not_fail(desk: Reporting) -> None:
    """What its last posts came to says nothing once the tenant has no address."""
    desk.app.answer = Answer(status=500)
    await desk.happen("m1", "sent")
    await desk.work()
    await desk.rig.runtime.services.tenants.update(TENANT, {"client_base_url": None})
    found = await state(desk)
    assert (found.failures, found.last_error, found.next_try_ts, found.pending) == (0, None, None, 1)
