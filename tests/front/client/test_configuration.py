"""The Python client, in both its kinds, against a real server: what is set up there, and who may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import assert_type

from mail_proxy.client import (
    AsyncMailProxyClient,
    Command,
    Health,
    MailProxyClient,
    Message,
)
from tests.support.python_client import Driver, Kind, driven, letter, new_tenant_id, refused
from tests.support.server import Server


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


async def test_an_account_is_tried(own: Driver, admin: Driver) -> None:
    """How its logins went is an answer, whatever they came to."""
    accounts = own.client.accounts
    found = await own(accounts.test, "main")
    assert (found.smtp.ok, found.smtp.error, found.smtp.tls, found.imap) == (True, None, "none", None)

    tenant_id = (await own(accounts.get, "main")).tenant_id
    await admin(admin.client.accounts.update, "main", tenant_id=tenant_id, port=1)
    found = await own(accounts.test, "main")
    assert not found.smtp.ok
    assert "refused" in found.smtp.error


async def test_tenants_and_their_keys_are_kept(kind: Kind, server: Server, admin: Driver) -> None:
    tenants, tenant_id = admin.client.tenants, new_tenant_id()
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
