"""The Python client, in both its kinds, against a real server: messages, and what is told of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from mail_proxy.client import Attachment, Rejection, Submission
from tests.support.application import Answer, Application
from tests.support.python_client import Driver, Kind, driven, letter, new_tenant_id, refused, settled, until
from tests.support.server import Server
from tests.support.sink import Sink


async def test_a_message_that_is_handed_in_is_delivered_and_told_of(own: Driver) -> None:
    messages = own.client.messages
    done = await own(messages.enqueue, letter("order/1", batch_code="june", metadata={"n": 1}))
    assert done == Submission(queued=1)

    found = await settled(own, "order/1")
    assert (found.id, found.account_id, found.batch_code) == ("order/1", "main", "june")
    assert found.metadata == {"n": 1}
    assert [(each.address, each.status) for each in found.recipients] == [("ann@example.test", "sent")]
    assert found.message["subject"] == "Hello"
    events = await own(messages.events, "order/1")
    assert [each.event_type for each in events] == ["queued", "sending", "sent"]
    [listed] = await own.all(messages.list, batch_code="june", include_history=True)
    assert (listed.pk, listed.events) == (found.pk, events)


async def test_many_messages_may_be_handed_in_at_once(own: Driver) -> None:
    """Those that are refused are told, with their faults; the others are queued."""
    letters = [letter("one"), letter("two", to=None), letter("one"), letter("three", colour="red")]
    done = await own(own.client.messages.enqueue, iter(letters), default_priority="low")

    assert done.queued == 2
    assert [each.id for each in done.rejected] == ["two", "one"]
    assert done.rejected[0].errors[0].loc == ("to",)
    assert done.rejected[1] == Rejection(id="one", reason="duplicate id")
    assert "colour" in done.warnings[0]
    assert (await settled(own, "one")).priority == 3


async def test_a_list_goes_through_all_pages(own: Driver) -> None:
    """Newest first, whatever the size of a page."""
    ids = [f"m{number}" for number in range(7)]
    await own(own.client.messages.enqueue, [letter(each) for each in ids])

    for page_size in (1, 3, 7, 1000):
        listed = await own.all(own.client.messages.list, page_size=page_size)
        assert [each.id for each in listed] == ids[::-1]
    assert await own.all(own.client.messages.list, until=listed[-1].created_at) == []
    assert await own.all(own.client.messages.list, since=datetime.now(UTC) + timedelta(days=1)) == []
    assert await own.all(own.client.messages.list, account_id="other") == []


@pytest.mark.parametrize("message_id", [".", "..", "a/b c?d#e%2Ff", "ünï…", "x" * 255])
async def test_an_id_may_be_whatever_the_server_takes(own: Driver, message_id: str) -> None:
    await own(own.client.messages.enqueue, letter(message_id))
    found = await own(own.client.messages.get, message_id)
    assert found.id == message_id


async def test_times_and_contents_are_taken_as_python_has_them(own: Driver, sink: Sink) -> None:
    """A datetime is a time, bytes are the content of a file or a whole message."""
    later = datetime(2050, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    raw = b"From: shop@acme.test\r\nTo: ann@example.test\r\nSubject: Raw\r\n\r\nAs it is.\r\n"
    file: Attachment = {"filename": "a.bin", "storage_path": b"\0\xff"}
    done = await own(
        own.client.messages.enqueue,
        [{"id": "raw", "raw": raw}, letter("file", attachments=[file]), letter("later", deferred_ts=later)],
    )
    assert done == Submission(queued=3)
    assert (await settled(own, "raw")).message == {"raw": True, "size": len(raw)}
    assert (await settled(own, "file")).message["attachments"][0]["filename"] == "a.bin"
    assert (await own(own.client.messages.get, "later")).deferred_ts == later.timestamp()


async def test_an_admin_may_mean_one_tenant_throughout(kind: Kind, admin: Driver, server: Server) -> None:
    """What names a tenant itself is not touched."""
    mine, other = (new_tenant_id() for _ in range(2))
    for tenant_id in (mine, other):
        await admin(admin.client.tenants.create, tenant_id)
    async with driven(kind, server.url, token=server.token, tenant_id=mine) as driver:
        accounts, messages = driver.client.accounts, driver.client.messages
        await driver(accounts.create, "main", host="sandbox")
        await driver(accounts.create, "main", host="sandbox", tenant_id=other)
        done = await driver(messages.enqueue, [letter("m1"), letter("m2", tenant_id=other)])
        assert done == Submission(queued=2)

        assert [each.id for each in await driver.all(messages.list)] == ["m1"]
        assert [each.id for each in await driver.all(messages.list, tenant_id=other)] == ["m2"]
        assert (await driver(messages.get, "m1")).tenant_id == mine
        assert (await driver(messages.events, "m2", tenant_id=other))[0].event_type == "queued"
        assert [each.tenant_id for each in await driver(accounts.list)] == [mine]


async def test_a_batch_is_held_back_and_let_go(own: Driver) -> None:
    messages = own.client.messages
    held = await own(messages.suspend, "june")
    assert (held.batch_code, held.suspended_batches) == ("june", ("june",))
    await own(messages.enqueue, [letter("m1", batch_code="june"), letter("m2")])
    await settled(own, "m2")
    assert (await own(messages.get, "m1")).status == "pending"

    assert (await own(messages.activate, "june")).suspended_batches == ()
    await settled(own, "m1")


async def test_a_tenant_is_held_back_and_let_go(own: Driver, admin: Driver) -> None:
    tenants, messages = admin.client.tenants, own.client.messages
    await own(messages.enqueue, letter("m1", deferred_ts="2050-01-01"))
    tenant_id = (await own(messages.get, "m1")).tenant_id
    held = await admin(tenants.suspend, tenant_id)
    assert (held.tenant_id, held.suspended_batches, held.pending_messages) == (tenant_id, ("*",), 1)
    assert (await refused(own(messages.activate, "june"))).status == 409

    assert (await admin(tenants.activate, tenant_id)).suspended_batches == ()


async def test_a_message_that_waits_is_let_go_or_put_off(own: Driver) -> None:
    messages = own.client.messages
    await own(messages.enqueue, letter("m1", deferred_ts="2050-01-01"))
    later = datetime(2040, 1, 1, tzinfo=UTC)
    assert (await own(messages.retry, "m1", at=later)).deferred_ts == later.timestamp()
    assert (await own(messages.retry, "m1")).id == "m1"
    await settled(own, "m1")
    assert (await refused(own(messages.retry, "m1"))).status == 409


async def test_messages_are_deleted(own: Driver, admin: Driver) -> None:
    """By their ids; what is sent and still to be reported only by force. Cleaning up takes what is over."""
    messages = own.client.messages
    await own(messages.enqueue, [letter("waits", deferred_ts="2050-01-01"), letter("sent")])
    tenant_id = (await settled(own, "sent")).tenant_id
    assert await own(messages.cleanup) == 0
    assert await own(messages.cleanup, older_than_seconds=0) == 1

    await admin(admin.client.tenants.update, tenant_id, client_base_url="http://127.0.0.1:1")
    await own(messages.enqueue, letter("sent"))
    await settled(own, "sent")
    assert await own(messages.cleanup, older_than_seconds=0) == 0
    done = await own(messages.delete, ["waits", "sent", "nothing"])
    assert (done.removed, done.not_found) == (1, ("nothing",))
    assert [each.id for each in done.refused] == ["sent"]
    assert (await own(messages.delete, iter(["sent"]), force=True)).removed == 1


async def test_what_is_still_to_be_told_is_listed_and_told_again(own: Driver, admin: Driver) -> None:
    """How the telling goes is the admin's to see."""
    reports, messages = own.client.reports, own.client.messages
    await own(messages.enqueue, [letter("m1"), letter("m2")])
    tenant_id = (await settled(own, "m1")).tenant_id
    await settled(own, "m2")
    untold = await own.all(reports.list, page_size=1)
    assert {(each.id, each.event, each.state) for each in untold} == {
        ("m1", "sent", "unreported"),
        ("m2", "sent", "unreported"),
    }

    refusing = Answer(body={"ok": True, "error": ["m1"]})
    async with Application(refusing) as application:
        await admin(admin.client.tenants.update, tenant_id, client_base_url=application.url)
        await admin(admin.client.run_now)
        [refused] = await until(lambda: own.all(reports.list, state="failing"), bool)
        assert (refused.id, refused.refusals) == ("m1", 1)
        assert refused.last_error == "the application refused this message"
        assert refused.again_ts > refused.event_ts
        application.answer = Answer()
        assert await own(reports.replay) == 1
        await application.wait_for(lambda _: len(application.entries) == 3)
        await until(lambda: own.all(reports.list), lambda left: left == [])
        assert await own(reports.replay, since=datetime.now(UTC) - timedelta(hours=1)) == 2
        await application.wait_for(lambda _: len(application.entries) == 5)
        overview = await admin(admin.client.tenants.sync_status)
    [status] = [each for each in overview.tenants if each.id == tenant_id]
    assert (status.client_base_url, status.last_error) == (application.url, None)
