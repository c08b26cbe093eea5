"""Leases lost, outcomes unknown, servers that died, databases that are away, and an orderly end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from mail_proxy.daemon.preparation import Prepared, Preparer
from mail_proxy.model.messages import EventType
from mail_proxy.model.queue import Claimed
from mail_proxy.model.verdicts import Bounced
from tests.support.dispatching import OWNER, Dispatching, running
from tests.support.scripted_server import Fault
from tests.support.smtp_server import SmtpServer, Stage
from tests.support.stores import begin_final

OTHER = "node-b"
LEASE = 30


async def test_a_message_another_node_took_over_is_not_sent_from_here(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The lease is looked at right before the content: until then nothing has happened."""
    held = asyncio.Event()
    server.at = {Stage.RCPT: [held]}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(Stage.RCPT)
    rig.time.advance(LEASE)
    await rig.store.queue.take_over(rig.clock.now(), owner=OTHER)

    held.set()
    await rig.dispatcher.idle()

    assert server.received == []
    assert await rig.happened("m1") == ["queued"]
    await rig.work()
    assert len(server.received) == 1


async def test_a_message_claimed_anew_while_still_in_hand_is_sent_once(
    rig: Dispatching, server: SmtpServer
) -> None:
    """After a long sleep this node may get back what it lost and never let go of."""
    held = asyncio.Event()
    server.at = {Stage.RCPT: [held]}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(Stage.RCPT)
    rig.time.advance(LEASE)
    await rig.store.queue.take_over(rig.clock.now(), owner=OTHER)
    await rig.dispatcher.step()

    held.set()
    await rig.dispatcher.idle()

    assert len(server.received) == 1
    assert await rig.status("m1") == "sent"


async def test_a_node_that_slept_past_its_leases_keeps_what_it_has_in_hand(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Nobody took it over, so it is not taken over by its own owner."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)
    rig.time.advance(3600)
    await rig.dispatcher.step()

    held.set()
    await rig.dispatcher.idle()

    assert await rig.happened("m1") == ["queued", "sending", "sent"]
    assert len(server.received) == 1


async def test_leases_are_renewed_while_a_conversation_lasts(rig: Dispatching, server: SmtpServer) -> None:
    """A server may take ten minutes for its last reply; no node takes the message over meanwhile."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.queue("m1")
    async with running(rig.dispatcher):
        await server.wait_at(Stage.DOT)
        for renewed in range(1, 9):
            await rig.time.until_asleep(8)
            rig.time.advance(8)
            await rig.database.until_done("renew", renewed)
        orphans = await rig.store.queue.take_over(rig.clock.now(), owner=OTHER)
        held.set()
    assert orphans == []
    assert await rig.status("m1") == "sent"


async def test_a_renewal_that_fails_is_repeated_before_the_lease_runs_out(
    rig: Dispatching, server: SmtpServer
) -> None:
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.queue("m1")
    rig.database.away = {"renew": 3}
    async with running(rig.dispatcher):
        await server.wait_at(Stage.DOT)
        for pause in (8, 2, 2, 2):
            await rig.time.until_asleep(pause)
            rig.time.advance(pause)
        await rig.database.until_done("renew")
        held.set()
    assert await rig.status("m1") == "sent"


@pytest.mark.parametrize("action", [Stage.DOT, Stage.ACCEPTED])
async def test_a_connection_lost_after_the_final_dot_leaves_the_outcome_unknown(
    rig: Dispatching, server: SmtpServer, action: Stage
) -> None:
    """It is tried again with the same Message-ID, and the application is told of the doubt."""
    server.at = {action: [Fault.DROP]}
    await rig.queue("m1")
    await rig.work()
    assert await rig.happened("m1") == ["queued", "sending", "deferred"]
    assert (await rig.last("m1", EventType.DEFERRED))["possible_duplicate"] is True

    rig.time.advance(60)
    await rig.work()

    assert await rig.status("m1") == "sent"
    message_id = (await rig.message("m1")).message_id.encode()
    assert all(message_id in mail.content for mail in server.received)
    assert len(server.received) == (1 if action is Stage.DOT else 2)


async def test_an_unknown_outcome_is_held_if_the_account_says_so(
    rig: Dispatching, server: SmtpServer
) -> None:
    """No node tries it again by itself, however long it waits."""
    await rig.execute("UPDATE accounts SET on_unknown = 'hold'")
    server.at = {Stage.ACCEPTED: [Fault.DROP]}
    await rig.queue("m1")
    await rig.work()
    rig.time.advance(86_400)
    await rig.work()
    assert (await rig.status("m1"), len(server.received)) == ("deferred", 1)
    assert (await rig.last("m1", EventType.DEFERRED))["deferred_ts"] is None


@pytest.mark.parametrize("on_unknown", ["retry", "hold"])
async def test_a_new_life_takes_up_what_the_old_one_left(
    rig: Dispatching, server: SmtpServer, on_unknown: str
) -> None:
    """Claimed only: it goes on. Perhaps transmitted: the account decides. Other nodes' stay theirs."""
    await rig.execute(f"UPDATE accounts SET on_unknown = '{on_unknown}'")
    lane = (await rig.store.accounts.get("acme", "main")).lane
    now = rig.clock.now()
    await rig.queue("claimed", "final", "others")
    (_, final) = (await rig.store.queue.claim(lane, 2, OWNER, now, now + LEASE)).messages
    await begin_final(rig.store, final, OWNER, now, "handing over")
    await rig.store.queue.claim(lane, 1, OTHER, now, now + LEASE)

    await rig.dispatcher.recover()
    assert rig.counted("gmp_deferred_total") == 1
    await rig.work()

    assert await rig.status("claimed") == "sent"
    assert await rig.status("final") == ("sent" if on_unknown == "retry" else "deferred")
    assert await rig.status("others") == "sending"
    assert (await rig.last("final", EventType.DEFERRED))["possible_duplicate"] is True
    assert "deferred" not in await rig.happened("claimed")

    rig.time.advance(LEASE)
    await rig.work()
    assert await rig.status("others") == "sent"
    assert rig.counted("gmp_deferred_total") == 1


async def test_what_is_taken_over_from_a_dead_node_is_counted_as_put_off(
    rig: Dispatching, server: SmtpServer
) -> None:
    """What it may have transmitted, each once; what it had only claimed was never tried."""
    lane = (await rig.store.accounts.get("acme", "main")).lane
    now = rig.clock.now()
    await rig.queue("claimed", "final1", "final2")
    for final in (await rig.store.queue.claim(lane, 3, OTHER, now, now + LEASE)).messages[1:]:
        await begin_final(rig.store, final, OTHER, now, "handing over")
    await rig.dispatcher.step()
    assert rig.counted("gmp_deferred_total") == 0

    rig.time.advance(LEASE)
    await rig.work(2)

    assert rig.counted("gmp_deferred_total") == 2
    assert (rig.counted("gmp_sent_total"), len(server.received)) == (3, 3)


async def test_a_database_away_at_the_start_is_waited_for(rig: Dispatching, server: SmtpServer) -> None:
    rig.database.away = {"take_over": 2}
    await rig.queue("m1")
    async with running(rig.dispatcher):
        for _ in range(2):
            await rig.time.until_asleep(2)
            rig.time.advance(2)
        await server.wait_for(1)


async def test_a_stop_is_heard_while_the_database_is_away_at_the_start(rig: Dispatching) -> None:
    rig.database.away = {"take_over": 99}
    task = asyncio.create_task(rig.dispatcher.run())
    await rig.time.until_asleep(2)
    rig.dispatcher.stop()
    rig.time.advance(2)
    async with asyncio.timeout(60):
        await task


@pytest.mark.parametrize("work", ["look", "claim"])
async def test_a_database_away_pauses_dispatch_and_is_told_once(
    rig: Dispatching, server: SmtpServer, work: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And once when it is back."""
    caplog.set_level(logging.INFO, "mail_proxy.daemon.outage")
    rig.database.away = {work: 3}
    await rig.queue("m1")
    async with running(rig.dispatcher):
        for failures in (1, 2, 3):
            await rig.database.until_refused(work, failures)
            rig.dispatcher.wake.set()
        await server.wait_for(1)
        await rig.database.until_done("settle")
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"dispatch pauses: the test's database is away for {work}",
        "dispatch goes on",
    ]


async def test_a_database_away_right_before_the_content_lets_nothing_go(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The message goes back to its place, and is sent with the next look; it was never in doubt."""
    rig.database.away = {"begin_final": 1}
    await rig.queue("m1")
    await rig.work()
    assert (server.received, await rig.status("m1")) == ([], "sending")

    await rig.work()

    assert await rig.happened("m1") == ["queued", "sending", "sent"]


async def test_a_database_away_after_the_reply_gets_the_outcome_when_it_is_back(
    rig: Dispatching, server: SmtpServer
) -> None:
    """However long that takes: what was sent is not sent again."""
    rig.database.away = {"settle": 3}
    await rig.queue("m1")
    await rig.dispatcher.step()
    for _ in range(3):
        await rig.time.until_asleep(2)
        assert await rig.status("m1") == "sending"
        rig.time.advance(2)
    await rig.dispatcher.idle()
    assert await rig.happened("m1") == ["queued", "sending", "sent"]
    assert len(server.received) == 1
    assert (rig.told, rig.counted("gmp_sent_total")) == (1, 1)


async def test_a_database_lost_before_it_confirms_an_outcome_is_not_taken_for_another_server(
    rig: Dispatching, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The outcome is on record, and counted and told of as any."""
    rig.database.unheard = {"settle": 1}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await rig.time.until_asleep(2)
    rig.time.advance(2)
    await rig.dispatcher.idle()
    assert await rig.happened("m1") == ["queued", "sending", "sent"]
    assert (rig.told, rig.counted("gmp_sent_total")) == (1, 1)
    assert "too late" not in caplog.text


async def test_an_outcome_that_comes_too_late_is_not_counted(
    rig: Dispatching, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Another node has the message now, and its word counts."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.queue("m1")
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)
    rig.time.advance(LEASE)
    await rig.store.queue.take_over(rig.clock.now(), owner=OTHER)

    held.set()
    await rig.dispatcher.idle()

    assert await rig.happened("m1") == ["queued", "sending", "deferred"]
    assert (await rig.last("m1", EventType.DEFERRED))["possible_duplicate"] is True
    assert rig.counted("gmp_sent_total") == 0
    assert "an outcome came too late" in caplog.text


async def test_a_failure_to_note_an_accounts_trouble_does_not_touch_the_message(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The outcome is recorded, told and counted all the same."""
    server.at = {Stage.CONNECT: "535 5.7.8 not you"}
    rig.database.away = {"trip": 1}
    await rig.queue("m1")
    await rig.work()
    assert await rig.status("m1") == "deferred"
    assert (rig.told, rig.counted("gmp_deferred_total")) == (1, 1)


async def test_a_stop_gives_back_what_waits_and_finishes_what_is_under_way(
    rig: Dispatching, server: SmtpServer
) -> None:
    """At once: another node, or the next life, has it without waiting for a lease."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2", "m3")
    task = asyncio.create_task(rig.dispatcher.run())
    await server.wait_at(Stage.DOT)

    rig.dispatcher.stop()
    await rig.database.until_done("release")
    await rig.queue("m4")
    assert [await rig.status(f"m{number}") for number in (1, 2, 3, 4)] == ["sending", *["pending"] * 3]
    assert not task.done()

    held.set()
    await task
    assert [await rig.status(f"m{number}") for number in (1, 2, 3, 4)] == ["sent", *["pending"] * 3]
    assert len(server.received) == 1


async def test_a_stop_waits_until_the_outcome_is_recorded(rig: Dispatching, server: SmtpServer) -> None:
    rig.database.away = {"settle": 1}
    await rig.queue("m1")
    task = asyncio.create_task(rig.dispatcher.run())
    await rig.time.until_asleep(2)
    rig.dispatcher.stop()
    rig.time.advance(2)
    await task
    assert await rig.status("m1") == "sent"


async def test_a_database_away_does_not_hold_up_the_end(rig: Dispatching, server: SmtpServer) -> None:
    """What cannot be given back is left to its lease."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2")
    rig.database.away = {"release": 1}
    task = asyncio.create_task(rig.dispatcher.run())
    await server.wait_at(Stage.DOT)
    rig.dispatcher.stop()
    await rig.database.until_refused("release")
    held.set()
    await task
    assert [await rig.status(each) for each in ("m1", "m2")] == ["sent", "sending"]


class _Buggy(Preparer):
    """Fails as only a bug does, for one message."""

    async def prepare(self, claimed: Claimed) -> Prepared | Bounced:
        if claimed.id == "bad":
            raise RuntimeError("a bug")
        return await super().prepare(claimed)


async def test_a_bug_ends_the_run_with_what_it_raised_and_leaves_no_task_behind(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Never a half-alive server; what was under way is left to the next life."""
    server.at = {Stage.DOT: asyncio.Event()}
    tasks = asyncio.all_tasks()
    dispatcher = rig.node(OWNER, _Buggy(rig.store, rig.runtime.tracking))
    await rig.queue("good")
    run = asyncio.create_task(dispatcher.run())
    await server.wait_at(Stage.DOT)
    await rig.queue("bad")
    dispatcher.wake.set()

    with pytest.raises(RuntimeError, match="a bug"):
        await run
    names = {task.get_name() for task in asyncio.all_tasks() - tasks}
    assert not {name for name in names if name.startswith(("send", "renew"))}
    server.at = {}
    await rig.dispatcher.recover()
    assert (await rig.last("good", EventType.DEFERRED))["possible_duplicate"] is True


async def test_a_run_that_is_cancelled_leaves_no_task_behind(rig: Dispatching, server: SmtpServer) -> None:
    """As by the second signal to stop."""
    server.at = {Stage.DOT: asyncio.Event()}
    await rig.queue("m1", "m2")
    run = asyncio.create_task(rig.dispatcher.run())
    await server.wait_at(Stage.DOT)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert not {name for name in names if name.startswith(("send", "renew"))}
