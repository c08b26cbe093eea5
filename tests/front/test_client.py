"""The Python client, in both its kinds, against a real server process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, assert_type

import pytest

from mail_proxy.client import (
    ApiError,
    AsyncMailProxyClient,
    Attachment,
    Command,
    Health,
    MailProxyClient,
    Message,
    Rejection,
    Submission,
)
from tests.support.application import Application
from tests.support.python_client import KINDS, Driver, driven
from tests.support.server import Server
from tests.support.sink import Sink

PATIENCE = 20.0
POLL = 0.02

Kind = type[MailProxyClient | AsyncMailProxyClient]

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests here, each of which has a tenant of its own."""
    with Server(tmp_path_factory.mktemp("client") / "home") as started:
        yield started


@pytest.fixture(scope="module")
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as listening:
        yield listening


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
async def admin(kind: Kind, server: Server) -> AsyncIterator[Driver]:
    """A client with the admin token."""
    async with driven(kind, server.url, token=server.token) as driver:
        yield driver


@pytest.fixture
async def own(kind: Kind, server: Server, admin: Driver, sink: Sink) -> AsyncIterator[Driver]:
    """A client with the key of a new tenant, whose account `main` leads to the sink."""
    tenant_id = f"acme-{next(numbers)}"
    key = await admin(admin.client.tenants.create, tenant_id, name="Acme")
    where = {"host": "127.0.0.1", "port": sink.port, "tls": "none"}
    await admin(admin.client.accounts.create, "main", tenant_id=tenant_id, **where)
    async with driven(kind, server.url, token=key) as driver:
        yield driver


def letter(message_id: str, **more: Any) -> dict[str, Any]:
    fields = {"from": "shop@acme.test", "to": "ann@example.test", "subject": "Hello", "body": "On its way."}
    return {"id": message_id, **fields, **more}


async def until(look: Callable[[], Awaitable[Any]], condition: Callable[[Any], bool]) -> Any:
    """Look again and again, until what is found fulfils the condition."""
    async with asyncio.timeout(PATIENCE):
        while not condition(found := await look()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL)
    return found


async def settled(own: Driver, message_id: str) -> Any:
    """The message, once it has left."""
    return await until(
        lambda: own(own.client.messages.get, message_id), lambda message: message.status == "sent"
    )


async def refused(call: Awaitable[object]) -> ApiError:
    """What the server said to a call that it must refuse."""
    with pytest.raises(ApiError) as caught:
        await call
    return caught.value


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
    mine, other = (f"acme-{next(numbers)}" for _ in range(2))
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


async def test_accounts_are_kept(own: Driver) -> None:
    accounts = own.client.accounts
    fields = {"port": 2525, "user": "bot", "password": "s3cret", "limit_per_hour": 9}
    assert await own(accounts.create, "second", host="smtp.example.org", **fields) is None

    found = await own(accounts.get, "second")
    assert (found.id, found.host, found.port, found.user) == ("second", "smtp.example.org", 2525, "bot")
    assert (found.limit_per_hour, found.ttl) == (9, 300)
    assert "s3cret" not in repr(found)
    changed = await own(accounts.update, "second", limit_per_hour=7, from_address="shop@acme.test")
    assert (changed.limit_per_hour, changed.from_address, changed.user) == (7, "shop@acme.test", "bot")
    assert [each.id for each in await own(accounts.list)] == ["main", "second"]

    assert await own(accounts.delete, "second") is None
    assert (await refused(own(accounts.get, "second"))).status == 404


async def test_an_account_with_queued_messages_is_deleted_by_force_alone(own: Driver) -> None:
    await own(own.client.messages.enqueue, letter("m1", deferred_ts="2050-01-01"))
    assert (await refused(own(own.client.accounts.delete, "main"))).status == 409
    await own(own.client.accounts.delete, "main", force=True)
    assert (await own(own.client.messages.get, "m1")).error == "account deleted"


async def test_tenants_and_their_keys_are_kept(kind: Kind, server: Server, admin: Driver) -> None:
    tenants, tenant_id = admin.client.tenants, f"acme-{next(numbers)}"
    first = await admin(tenants.create, tenant_id, name="Acme", rate_limits={"hourly": 5})
    assert await admin(tenants.create, tenant_id, name="Acme Ltd") is None

    found = await admin(tenants.get, tenant_id)
    assert (found.name, found.rate_limits) == ("Acme Ltd", {"hourly": 0, "daily": 0})
    changed = await admin(tenants.update, tenant_id, active=False)
    assert (changed.name, changed.active) == ("Acme Ltd", False)
    assert tenant_id in [each.id for each in await admin(tenants.list)]
    assert tenant_id not in [each.id for each in await admin(tenants.list, active_only=True)]
    await admin(tenants.update, tenant_id, active=True)

    second = await admin(tenants.new_api_key, tenant_id, expires_at=datetime(2050, 1, 1, tzinfo=UTC))
    assert (await admin(tenants.get, tenant_id)).api_key_expires_at == 2524608000
    for key, status in ((first, 401), (second, 200)):
        async with driven(kind, server.url, token=key) as driver:
            if status == 200:
                assert (await driver(driver.client.tenants.get, tenant_id)).id == tenant_id
            else:
                assert (await refused(driver(driver.client.tenants.get, tenant_id))).status == status
    await admin(tenants.revoke_api_key, tenant_id)
    async with driven(kind, server.url, token=second) as driver:
        assert (await refused(driver(driver.client.status))).status == 401
    await admin(tenants.delete, tenant_id)
    assert (await refused(admin(tenants.get, tenant_id))).status == 404


async def test_storages_are_kept(own: Driver) -> None:
    storages = own.client.storages
    config = {"bucket": "files", "access_key_id": "AKIA1", "secret_access_key": "s3cret"}
    assert await own(storages.create, "minio", protocol="s3", config=config) is None

    [found] = await own(storages.list)
    assert (found.name, found.protocol) == ("minio", "s3")
    assert found.config == {**config, "secret_access_key": "***"}
    await own(storages.delete, "minio")
    assert await own(storages.list) == ()


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

    async with Application() as application:
        await admin(admin.client.tenants.update, tenant_id, client_base_url=application.url)
        await admin(admin.client.run_now)
        await application.wait_for(lambda _: len(application.entries) == 2)
        await until(lambda: own.all(reports.list), lambda left: left == [])
        assert await own(reports.replay, since=datetime.now(UTC) - timedelta(hours=1)) == 2
        await application.wait_for(lambda _: len(application.entries) == 4)
        overview = await admin(admin.client.tenants.sync_status)
    [status] = [each for each in overview.tenants if each.id == tenant_id]
    assert (status.client_base_url, status.last_error) == (application.url, None)


async def test_the_settings_of_the_instance_are_kept(admin: Driver) -> None:
    instance = admin.client.instance
    changed = await admin(instance.update, name="post office", bounce_imap_password="s3cret")
    assert (changed.name, changed.bounce_imap_password) == ("post office", "***")
    assert await admin(instance.get) == changed

    bounces = await admin(instance.update_bounces, bounce_poll_interval=90)
    assert (bounces.bounce_poll_interval, bounces.bounce_imap_password) == (90, "***")
    assert await admin(instance.bounces) == bounces
    assert await admin(instance.reload_bounces) is None


async def test_the_dispatch_of_all_is_stopped_and_started(admin: Driver, own: Driver) -> None:
    await admin(admin.client.instance.suspend)
    assert not (await own(own.client.status)).active
    await admin(admin.client.instance.activate)
    assert (await own(own.client.status)).active


async def test_the_log_of_commands_is_read_and_exported(own: Driver, admin: Driver) -> None:
    await own(own.client.messages.enqueue, letter("m1"))
    tenant_id = (await own(own.client.messages.get, "m1")).tenant_id

    log = admin.client.command_log
    page = await admin(log.list, tenant_id=tenant_id, endpoint="/commands/add-messages")
    assert [(each.endpoint, each.status) for each in page.commands] == [("POST /commands/add-messages", 200)]
    newest = await admin(log.list, tenant_id=tenant_id, limit=2)
    assert (len(newest.commands), newest.total) == (2, 3)
    everything = await admin.all(log.export, tenant_id=tenant_id)
    assert [each.command_id for each in everything[:0:-1]] == [each.command_id for each in newest.commands]
    assert [each.endpoint for each in everything] == [
        "POST /tenant",
        "POST /account",
        "POST /commands/add-messages",
    ]
    assert (await refused(own.all(own.client.command_log.export))).status == 403


async def test_the_server_tells_how_it_fares(kind: Kind, server: Server, own: Driver) -> None:
    """Its health without a token, the rest with one; the admin is told which processes there are."""
    async with driven(kind, server.url) as driver:
        assert (await driver(driver.client.health)).database == "ok"
        assert (await refused(driver(driver.client.status))).status == 401
    assert await own(own.client.run_now) is None
    status = await own(own.client.status)
    assert (status.active, status.pending_messages) == (True, 0)
    assert status.nodes[0].pid is None
    async with driven(kind, server.url, token=server.token) as driver:
        assert (await driver(driver.client.status)).nodes[0].pid == server.pid


async def test_type_checkers_know_what_comes_back(server: Server) -> None:
    """Of each client its own: values of the one, awaitables of the other."""

    def ask() -> None:
        with MailProxyClient(server.url, token=server.token) as client:
            assert assert_type(client.health(), Health).status == "ok"
            assert_type(client.messages.list(), Iterator[Message])
            assert_type(client.command_log.export(), Iterator[Command])

    await asyncio.to_thread(ask)
    async with AsyncMailProxyClient(server.url, token=server.token) as client:
        assert assert_type(await client.health(), Health).status == "ok"
        assert_type(client.messages.list(), AsyncIterator[Message])
        assert_type(client.command_log.export(), AsyncIterator[Command])


async def test_what_is_wrong_is_told_by_its_field(own: Driver) -> None:
    """A request as a whole by 422; messages, when every one is invalid, one by one by 400."""
    error = await refused(own(own.client.accounts.update, "main", port=0, ttl="long"))
    assert error.status == 422
    assert [fault.loc for fault in error.faults] == [("port",), ("ttl",)]

    letters = [letter("m1", to="nobody"), letter("m2", body=None)]
    error = await refused(own(own.client.messages.enqueue, letters))
    assert error.status == 400
    assert [each.id for each in error.rejected] == ["m1", "m2"]
    assert [fault.loc for fault in error.faults] == [("to", 0), ("body",)]
    assert str(error) == "every message was rejected: see 'rejected' (HTTP 400)"


async def test_who_may_not_is_told_so(kind: Kind, server: Server, own: Driver) -> None:
    async with driven(kind, server.url, token="not-a-token-of-anybody") as driver:
        assert (await refused(driver(driver.client.accounts.list))).status == 401
    assert (await refused(own(own.client.tenants.list))).status == 403
    assert (await refused(own(own.client.messages.get, "nothing"))).status == 404
    assert (await refused(own.all(own.client.messages.list, tenant_id="other"))).status == 401
