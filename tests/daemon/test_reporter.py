"""Events reach the applications: in order, at least once, and no application's trouble is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mail_proxy.daemon.telling import BATCH
from mail_proxy.model.accounts import OnUnknown
from tests.support.application import Answer, Application
from tests.support.dispatching import TENANT
from tests.support.reporting import Reporting, reporting
from tests.support.scripted_server import DROP
from tests.support.smtp_server import SmtpServer, Stage

REFUSALS = [
    pytest.param(Answer(status=500), id="500"),
    pytest.param(Answer(status=302, headers={"Location": "http://127.0.0.1:1/"}), id="redirect"),
    pytest.param(Answer(body=b"<html>hello</html>"), id="not JSON"),
    pytest.param(Answer(body=["ok"]), id="not an object"),
    pytest.param(Answer(body={"ok": False}), id="ok false"),
    pytest.param(Answer(drop=True), id="connection lost"),
    pytest.param(Answer(raw=b"\x00\x01\x02\r\n\r\n"), id="garbage"),
]


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Reporting]:
    async with reporting(database_url) as made:
        yield made


async def test_events_are_posted_in_order_and_told_once(desk: Reporting) -> None:
    """In one post, with numbers that rise; what was acknowledged does not come again."""
    await desk.happen("m1", "deferred", "deferred", "sent")
    await desk.happen("m2", "error")
    await desk.work()
    await desk.work()
    assert desk.told == [("m1", "deferred"), ("m1", "deferred"), ("m1", "sent"), ("m2", "error")]
    assert len(desk.app.posts) == 1
    numbers = [int(str(entry["event_id"])) for entry in desk.app.entries]
    assert numbers == sorted(set(numbers))
    assert (await desk.rig.message("m1")).reported_ts == desk.rig.clock.now()


@pytest.mark.parametrize(("on_unknown", "waits"), [(OnUnknown.RETRY, 60), (OnUnknown.HOLD, None)])
async def test_a_message_that_is_held_has_no_time_at_which_it_is_tried_again(
    desk: Reporting, on_unknown: OnUnknown, waits: int | None
) -> None:
    """Nobody knows whether the server took it; a person decides, unless the account says to send it again."""
    async with SmtpServer(at={Stage.ACCEPTED: DROP}).running() as server:
        await desk.rig.add_account(server, "doubtful", on_unknown=on_unknown)
        await desk.rig.queue("m1", account_id="doubtful")
        await desk.rig.work()
    await desk.work()
    (told,) = desk.app.entries
    until = None if waits is None else int(desk.rig.clock.now() + waits)
    assert {name: told[name] for name in ("event", "deferred_ts", "possible_duplicate", "retry_count")} == {
        "event": "deferred",
        "deferred_ts": until,
        "possible_duplicate": True,
        "retry_count": 1,
    }
    assert str(told["deferred_reason"]).startswith("connection lost")
    assert [told[name] for name in ("sent_ts", "error_ts", "error")] == [None] * 3


async def test_more_than_one_batch_goes_in_several_posts(desk: Reporting) -> None:
    """One after the other, without waiting for the next look."""
    await desk.happen("m1", *["deferred"] * (BATCH + 3))
    await desk.work()
    assert [len(post.entries) for post in desk.app.posts] == [BATCH, 3]
    assert await desk.pending() == 0


async def test_what_happens_during_a_post_is_told_right_after(desk: Reporting) -> None:
    """What it had not read is not left to the back-up poll."""
    held = asyncio.Event()
    desk.app.script = [Answer(held=held)]
    await desk.happen("m1", "sent")
    await desk.reporter.step()
    await desk.app.wait_for(lambda posts: len(posts) == 1)
    await desk.happen("m2", "sent")
    await desk.reporter.step()
    held.set()
    await desk.reporter.idle()
    assert desk.told == [("m1", "sent"), ("m2", "sent")]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_what_is_not_accepted_is_posted_again_with_growing_pauses(
    desk: Reporting, refusal: Answer
) -> None:
    """10 s, 20 s, 40 s…; every event keeps its number, and none is lost."""
    desk.app.answer = refusal
    await desk.happen("m1", "sent")
    for pause in (10, 20, 40):
        posts = len(desk.app.posts)
        await desk.work()
        assert len(desk.app.posts) == posts + 1
        desk.rig.time.advance(pause - 1)
        assert await desk.work() == 1
        assert len(desk.app.posts) == posts + 1
        desk.rig.time.advance(1)
    desk.app.answer = Answer()
    await desk.work()
    assert len({entry["event_id"] for entry in desk.app.entries}) == 1
    assert await desk.pending() == 0


async def test_pauses_grow_to_five_minutes_and_begin_anew_after_a_success(desk: Reporting) -> None:
    desk.app.answer = Answer(status=503)
    await desk.happen("m1", "sent")
    for _ in range(7):
        await desk.work()
        desk.rig.time.advance(300)
    posts = len(desk.app.posts)
    await desk.work()
    desk.rig.time.advance(299)
    await desk.work()
    assert len(desk.app.posts) == posts + 1

    desk.rig.time.advance(1)
    desk.app.script = [Answer(), Answer(status=503)]
    await desk.work()
    await desk.happen("m2", "sent")
    await desk.work()
    desk.rig.time.advance(10)
    await desk.work()
    assert len(desk.app.posts) == posts + 4


async def test_an_application_in_trouble_delays_no_other(desk: Reporting) -> None:
    """One hangs, one refuses: the third is told at once, and again while they go on like that."""
    async with Application(Answer(hang=True)) as hanging, Application(Answer(status=500)) as refusing:
        await desk.add_tenant("hanging", hanging.url)
        await desk.add_tenant("refusing", refusing.url)
        for tenant_id in ("hanging", "refusing", TENANT):
            await desk.happen("m1", "sent", tenant_id=tenant_id)
        await desk.reporter.step()
        await desk.app.wait_for(lambda posts: len(posts) == 1)
        await desk.rig.database.until_done("accepted")
        await desk.happen("m2", "sent")
        await desk.reporter.step()
        await desk.app.wait_for(lambda posts: len(posts) == 2)
        await hanging.close()
        await desk.reporter.idle()
    assert [await desk.pending(each) for each in ("hanging", "refusing", TENANT)] == [1, 1, 0]


async def test_refused_messages_come_again_later_and_hold_up_nothing_else(desk: Reporting) -> None:
    """Their own further events wait with them, in order; other messages' are told at once."""
    desk.app.script = [Answer(body={"ok": True, "error": ["m1"]})]
    await desk.happen("m1", "deferred")
    await desk.happen("m2", "sent")
    await desk.work()
    await desk.happen("m1", "sent")
    await desk.happen("m3", "sent")
    assert await desk.work() == 5
    assert desk.told[2:] == [("m3", "sent")]

    desk.rig.time.advance(10)
    await desk.work()
    assert desk.told[3:] == [("m1", "deferred"), ("m1", "sent")]
    assert await desk.pending() == 0


async def test_a_message_refused_again_and_again_waits_longer_each_time(desk: Reporting) -> None:
    desk.app.answer = Answer(body={"ok": True, "error": ["m1"]})
    await desk.happen("m1", "sent")
    for pause in (10, 20, 40, 80, 160, 300, 300):
        posts = len(desk.app.posts)
        await desk.work()
        desk.rig.time.advance(pause - 1)
        await desk.work()
        assert len(desk.app.posts) == posts + 1
        desk.rig.time.advance(1)


async def test_a_whole_batch_refused_does_not_stop_what_comes_after(desk: Reporting) -> None:
    """However many there are, they are not always the first in line."""
    refused = [f"bad{number}" for number in range(BATCH)]
    desk.app.answer = lambda post: Answer(
        body={
            "ok": True,
            "error": [entry["id"] for entry in post.entries if str(entry["id"]).startswith("bad")],
        }
    )
    await desk.rig.queue(*refused)
    await desk.rig.execute(
        "INSERT INTO events (seq, tenant_id, event_type, event_ts, description, is_due) "
        "SELECT seq, tenant_id, 'sent', 0, 'x', 1 FROM messages"
    )
    await desk.happen("good", "sent")
    await desk.work()
    assert desk.told[-1] == ("good", "sent")
    assert await desk.pending() == BATCH


async def test_messages_the_application_does_not_know_are_done_with(desk: Reporting) -> None:
    desk.app.answer = Answer(body={"ok": True, "not_found": ["m1"]})
    await desk.happen("m1", "sent")
    await desk.work()
    assert await desk.pending() == 0


async def test_who_asks_gets_a_post_now(desk: Reporting) -> None:
    """Run-now waits for no pause, neither for the application nor for what it refused."""
    desk.app.script = [Answer(body={"ok": True, "error": ["m1"]}), Answer(status=500)]
    await desk.happen("m1", "sent")
    await desk.work()
    await desk.happen("m2", "sent")
    await desk.work()
    await desk.rig.runtime.services.instance.run_now()
    await desk.work()
    assert desk.told == [("m1", "sent"), ("m2", "sent"), ("m1", "sent"), ("m2", "sent")]
    assert await desk.pending() == 0


async def test_a_tenant_without_an_application_costs_little_and_gets_its_backlog_later(
    desk: Reporting,
) -> None:
    """Once a URL is set everything is told, from the beginning."""
    await desk.add_tenant("quiet", None)
    await desk.happen("m1", "deferred", "sent", tenant_id="quiet")
    for _ in range(10):
        await desk.work()
    assert desk.rig.database.done["news"] == 0
    assert desk.rig.database.done["get"] <= 2

    await desk.rig.store.tenants.change(
        "quiet", lambda tenant: replace(tenant, client_base_url=desk.app.url), desk.rig.clock.now()
    )
    desk.rig.time.advance(5)
    await desk.work()
    assert desk.told == [("m1", "deferred"), ("m1", "sent")]


async def test_the_instances_application_hears_for_tenants_without_one(desk: Reporting) -> None:
    await desk.add_tenant("quiet", None)
    desk.reporter = desk.anew(client_sync_url=desk.app.url + "/all", client_sync_token="s3cret")
    await desk.happen("m1", "sent", tenant_id="quiet")
    await desk.work()
    (post,) = desk.app.posts
    assert (post.target, post.headers["authorization"]) == ("/all", "Bearer s3cret")
    assert post.entries[0]["tenant_id"] == "quiet"


async def test_an_acknowledgement_that_is_lost_repeats_the_same_events(desk: Reporting) -> None:
    """As after a kill between the answer and the commit: same numbers, so receivers can tell."""
    desk.rig.database.away = {"accepted": 1}
    await desk.happen("m1", "sent")
    await desk.work()
    desk.reporter = desk.anew()
    await desk.work()
    first, again = desk.app.posts
    assert first.entries == again.entries
    assert await desk.pending() == 0


async def test_a_tenant_deleted_meanwhile_is_forgotten(desk: Reporting) -> None:
    await desk.happen("m1", "sent")
    await desk.reporter.step()
    await desk.rig.store.tenants.delete(TENANT)
    await desk.reporter.idle()
    assert await desk.work() == 5


async def test_a_tenant_whose_secret_is_damaged_delays_no_other(
    desk: Reporting, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.add_tenant("damaged", desk.app.url)
    await desk.happen("m1", "sent", tenant_id="damaged")
    await desk.happen("m1", "sent")
    await desk.rig.execute("UPDATE tenants SET enc_client_auth = 'ENC:AAAA' WHERE id = 'damaged'")
    await desk.work()
    assert [entry["tenant_id"] for entry in desk.app.entries] == [TENANT]
    assert "reports to damaged" in caplog.text
