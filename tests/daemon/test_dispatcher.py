"""The way of messages: claimed, handed over, settled for each recipient, tried again, or failed."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP

from mail_proxy.clock import SystemClock
from mail_proxy.model.messages import EventType
from tests.support.dispatching import Dispatching, dispatching, running
from tests.support.scripted_server import Fault
from tests.support.smtp_server import SmtpServer, Stage

RAW = (
    "From: Zoë <zoe@example.org>\r\nTo: ann@example.net\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n"
    "Message-ID: <given@example.org>\r\nDate: Fri, 21 Nov 2025 10:00:00 +0000\r\n\r\nHello.\r\n.\r\nBye.\r\n"
).replace("Zoë", "Zoe")


async def test_a_message_given_by_fields_arrives(rig: Dispatching, server: SmtpServer) -> None:
    """As MIME, to its envelope, with the ids that correlate it; its events tell the way it went."""
    await rig.queue("m1", to=["ann@example.net"], bcc=["bob@example.net"], subject="Grüße", body="Ça va?")

    await rig.work()

    (mail,) = server.received
    sent = message_from_bytes(mail.content, policy=SMTP)
    message = await rig.message("m1")
    assert (mail.mail_from, mail.rcpt_tos) == ("shop@example.org", ("ann@example.net", "bob@example.net"))
    assert (str(sent["Subject"]), sent.get_payload(decode=True)) == ("Grüße", "Ça va?".encode())
    assert sent["Bcc"] is None
    assert sent["Message-ID"] == message.message_id
    assert rig.runtime.tracking.pk_of(str(sent["X-Genro-Mail-ID"])) == message.pk
    assert (message.status, message.sent_ts, message.error) == ("sent", rig.clock.now(), None)
    assert await rig.happened("m1") == ["queued", "sending", "sent"]


async def test_a_raw_message_arrives_as_it_was_given(rig: Dispatching, server: SmtpServer) -> None:
    """Only the header for correlation is added."""
    await rig.queue("m1", raw=base64.b64encode(RAW.encode()).decode(), envelope={"to": ["cyd@example.net"]})

    await rig.work()

    (mail,) = server.received
    added, rest = mail.content.decode().split("\r\n", 1)
    assert added.startswith("X-Genro-Mail-ID: ")
    assert rest == RAW
    assert (mail.mail_from, mail.rcpt_tos) == ("zoe@example.org", ("cyd@example.net",))


async def test_recipients_fare_each_on_their_own(rig: Dispatching, server: SmtpServer) -> None:
    """Two taken, one refused, one put off: only that one is tried again, and the moment of sending stays."""
    await rig.queue("m1", to=["ann@b.test", "nouser@b.test", "bob@b.test", "grey@b.test"])

    await rig.work()

    first = await rig.message("m1")
    assert (first.status, first.sent_ts, first.retry_count) == ("deferred", rig.clock.now(), 1)
    assert [each.status for each in first.recipients] == ["sent", "error", "sent", "deferred"]
    assert await rig.happened("m1") == ["queued", "sending", "sent", "error", "deferred"]
    told = await rig.last("m1", EventType.DEFERRED)
    assert told["recipients"] == [
        {
            "address": "grey@b.test",
            "status": "deferred",
            "code": "4.7.1",
            "reply": "451 4.7.1 greylisted, try later",
        }
    ]

    server.refusals = {"grey": "550 5.7.1 no more"}
    rig.time.advance(60)
    await rig.work()

    last = await rig.message("m1")
    assert [mail.rcpt_tos for mail in server.received] == [("ann@b.test", "bob@b.test")]
    assert server.commands.count("RCPT ann@b.test") == 1
    assert server.commands.count("RCPT grey@b.test") == 2
    assert (last.status, last.sent_ts, last.error) == ("sent", first.sent_ts, None)
    assert [each.status for each in last.recipients] == ["sent", "error", "sent", "error"]
    assert (await rig.happened("m1"))[5:] == ["error"]
    assert [rig.counted(f"gmp_{name}_total") for name in ("sent", "errors", "deferred")] == [1, 2, 1]


async def test_what_is_put_off_is_tried_by_the_schedule_and_then_fails(rig: Dispatching) -> None:
    """60 s and 300 s later, and no sooner; then it is an error in the server's own words."""
    rig.dispatcher = rig.node("node-a", retry_delays=(60.0, 300.0), max_retries=2)
    await rig.queue("m1", to=["tmp@b.test"])

    await rig.work()
    for delay in (60, 300):
        assert (await rig.message("m1")).deferred_ts == rig.clock.now() + delay
        assert await rig.dispatcher.step() <= 5
        rig.time.advance(delay - 0.5)
        assert await rig.dispatcher.step() == 0.5
        await rig.work()
        rig.time.advance(0.5)
        await rig.work()

    message = await rig.message("m1")
    assert (message.status, message.retry_count) == ("error", 3)
    assert (message.error, message.error_ts) == ("450 4.2.0 temporarily unavailable", rig.clock.now())
    assert await rig.happened("m1") == ["queued", "deferred", "deferred", "error"]


async def test_a_scheduled_message_joins_when_its_time_comes(rig: Dispatching, server: SmtpServer) -> None:
    """The step tells how long to wait for it."""
    await rig.queue("m1", deferred_ts=rig.clock.now() + 3)

    assert await rig.dispatcher.step() == 3
    assert await rig.status("m1") == "deferred"
    rig.time.advance(3)
    await rig.work()

    assert await rig.status("m1") == "sent"
    assert len(server.received) == 1


async def test_messages_go_by_priority_then_in_the_order_they_came(
    rig: Dispatching, server: SmtpServer
) -> None:
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("low", priority="low")
    await rig.queue("first", "second")
    await rig.queue("high", priority="high")
    await rig.queue("now", priority="immediate")

    await rig.work()

    assert _subjects(server) == ["now", "high", "first", "second", "low"]


async def test_an_immediate_message_overtakes_what_is_claimed_already(
    rig: Dispatching, server: SmtpServer
) -> None:
    """It waits for a conversation to end, not for the whole batch before it."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.execute("UPDATE accounts SET max_concurrent = 1, batch_size = 3")
    await rig.queue("m1", "m2", "m3")
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)
    await rig.queue("urgent", priority=0)
    await rig.dispatcher.step()

    held.set()
    await rig.dispatcher.idle()

    assert _subjects(server) == ["m1", "urgent", "m2", "m3"]


async def test_a_message_that_cannot_be_written_fails_and_says_why(
    rig: Dispatching, server: SmtpServer
) -> None:
    """Damage in the database is that message's alone."""
    await rig.queue("m1", "m2", raw=base64.b64encode(RAW.encode()).decode())
    await rig.execute("DELETE FROM payloads WHERE seq = (SELECT MIN(seq) FROM payloads)")

    await rig.work()

    message = await rig.message("m1")
    assert message.status == "error"
    assert message.error is not None
    assert message.error.startswith("the message cannot be written: ")
    assert await rig.status("m2") == "sent"


async def test_a_suspended_tenant_and_batch_are_held(rig: Dispatching, server: SmtpServer) -> None:
    """They stay pending, however often the dispatcher looks, and cost it nothing but the look."""
    await rig.queue("m1", batch_code="spring")
    await rig.queue("m2")
    await rig.execute("INSERT INTO suspensions VALUES ('acme', 'spring', 0)")
    await rig.work(2)
    assert [await rig.status(each) for each in ("m1", "m2")] == ["pending", "sent"]

    await rig.execute("UPDATE suspensions SET batch_code = '*'")
    await rig.queue("m3")
    assert await rig.dispatcher.step() == 5
    assert await rig.status("m3") == "pending"

    await rig.execute("DELETE FROM suspensions")
    await rig.work()
    assert [await rig.status(each) for each in ("m1", "m3")] == ["sent", "sent"]


async def test_messages_of_an_inactive_tenant_wait(rig: Dispatching, server: SmtpServer) -> None:
    await rig.queue("m1")
    await rig.execute("UPDATE tenants SET active = 0 WHERE id = 'acme'")
    await rig.work()
    assert await rig.status("m1") == "pending"


async def test_an_inactive_instance_takes_in_and_sends_nothing(rig: Dispatching) -> None:
    """Until it is activated: by whoever said so last, or by configuration."""
    rig.dispatcher = rig.node("node-a", scheduler_active=False)
    await rig.queue("m1")
    await rig.work()
    assert await rig.status("m1") == "pending"

    await rig.runtime.services.instance.set_active(True)
    await rig.work()
    assert await rig.status("m1") == "sent"

    await rig.runtime.services.instance.set_active(False)
    await rig.queue("m2")
    await rig.work()
    assert await rig.status("m2") == "pending"


async def test_an_instance_that_is_stopped_gives_back_what_waits_for_its_turn(
    rig: Dispatching, server: SmtpServer
) -> None:
    """What is at the server is finished; what was only claimed goes when the instance is active again."""
    held = asyncio.Event()
    server.at = {Stage.DOT: [held]}
    await rig.execute("UPDATE accounts SET max_concurrent = 1")
    await rig.queue("m1", "m2", "m3")
    await rig.dispatcher.step()
    await server.wait_at(Stage.DOT)

    await rig.runtime.services.instance.set_active(False)
    await rig.dispatcher.step()
    held.set()
    await rig.dispatcher.idle()
    assert [await rig.status(each) for each in ("m1", "m2", "m3")] == ["sent", "pending", "pending"]

    await rig.runtime.services.instance.set_active(True)
    await rig.work()
    assert len(server.received) == 3


async def test_in_test_mode_a_run_is_asked_for_and_does_all_there_is(
    rig: Dispatching, server: SmtpServer
) -> None:
    """A ring or the poll does nothing; run-now sends everything that is due, batch after batch."""
    await rig.execute("UPDATE accounts SET batch_size = 2")
    dispatcher = rig.node("node-a", test_mode=True, send_loop_interval=0.01)
    await rig.queue(*(f"m{number}" for number in range(7)))
    async with running(dispatcher):
        await rig.database.until_done("take_over")
        for _ in range(5):
            dispatcher.wake.set()
            await asyncio.sleep(0)
        assert rig.database.done["look"] == 0

        dispatcher.wake.set(run_now=True)
        await rig.database.until_done("settle", 7)
    assert len(server.received) == 7


async def test_what_comes_back_to_a_deleted_account_fails(rig: Dispatching, server: SmtpServer) -> None:
    """The application is told, and it counts as an error."""
    await rig.queue("m1")
    await rig.execute("DELETE FROM accounts")
    await rig.work()
    message = await rig.message("m1")
    assert (message.status, message.error) == ("error", "account deleted")
    assert (rig.told, rig.counted("gmp_errors_total")) == (1, 1)


async def test_nothing_waits_for_the_back_up_poll(database_url: str, server: SmtpServer) -> None:
    """Batch after batch, a message that comes late, its retry: each is gone for by itself."""
    settings = {"GMP_SEND_LOOP_INTERVAL": "3600", "GMP_RETRY_DELAYS": "0.05"}
    async with dispatching(database_url, settings, clock=SystemClock()) as rig:
        await rig.add_account(server, batch_size=2)
        await rig.queue(*(f"m{number}" for number in range(9)))
        async with running(rig.dispatcher):
            await server.wait_for(9)
            await rig.database.until_done("settle", 9)
            server.at = {Stage.RCPT: ["451 4.7.1 not yet"]}
            await rig.queue("late")
            rig.dispatcher.wake.set()
            await server.wait_for(10)
        assert len(server.received) == 10


async def test_the_reporter_is_told_of_each_outcome(rig: Dispatching, server: SmtpServer) -> None:
    await rig.queue("m1", "m2")
    await rig.work()
    assert rig.told == 2


async def test_changes_of_configuration_are_taken_while_running(rig: Dispatching, server: SmtpServer) -> None:
    """Limits and the schedule of retries hold from the next message on."""
    rig.dispatcher.reconfigure(
        replace(rig.runtime.config, max_concurrent_sends=1, retry_delays=(7.0,), max_concurrent_per_account=3)
    )
    await rig.queue("m1", "m2", "m3", to=["grey@b.test"])
    await rig.work()
    assert rig.agent.most_at_once == 1
    assert (await rig.message("m1")).deferred_ts == rig.clock.now() + 7


async def test_a_limit_raised_while_running_reaches_the_connections(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The pool, made with the old limit, does not hold conversations up."""
    held = asyncio.Event()
    server.at = {Stage.DOT: held}
    rig.dispatcher.reconfigure(replace(rig.runtime.config, max_concurrent_per_account=12))
    await rig.queue(*(f"m{number}" for number in range(12)))
    await rig.dispatcher.step()
    await server.until(lambda: server.reached.count(Stage.DOT) == 12)
    held.set()
    await rig.dispatcher.idle()
    assert len(server.received) == 12


async def test_a_connection_lost_before_the_content_costs_a_retry(
    rig: Dispatching, server: SmtpServer
) -> None:
    """The message is not in doubt: nothing of it was transmitted."""
    server.at = {Stage.MAIL: [Fault.DROP]}
    await rig.queue("m1")
    await rig.work()
    assert (await rig.message("m1")).retry_count == 1
    assert "possible_duplicate" not in await rig.last("m1", EventType.DEFERRED)
    rig.time.advance(60)
    await rig.work()
    assert await rig.status("m1") == "sent"


def _subjects(server: SmtpServer) -> list[str]:
    return [str(message_from_bytes(mail.content)["Subject"]) for mail in server.received]
