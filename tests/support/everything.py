"""A database in which every table has rows, of every kind that has to be told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mail_proxy.model.accounts import Account
from mail_proxy.model.commands import Command
from mail_proxy.model.queue import NodeInfo
from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.store import Store
from mail_proxy.store.key_check import KEY_CHECK
from mail_proxy.store.migration import tables
from mail_proxy.store.shared_clock import clock_of
from mail_proxy.store.store import open_database
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_deferred,
    as_error,
    begin_final,
    open_store,
    record_outcome,
    target_of,
)
from tests.support.works import ask

STRANGE = "Zoë 日本 \U0001f600 'quoted' \"too\" \\ \n\t\x7f"
"""What an engine, or a way to write for it, might spoil."""

PAGE = 4096
BINARY = bytes(range(256)) * 5
SECRETS = ("client-s3cret", "webhook-s3cret", "smtp-s3cret", "imap-s3cret", "storage-s3cret", "bounce-s3cret")

Dump = dict[str, list[str]]


async def fill_everything(bench: Bench) -> None:
    """Fill each table; what `bench` has besides is tenant acme and its account main."""
    store = bench.store
    await fill_secrets(store)
    await bench.sent("sent")
    await bench.add("error")
    for claimed in await bench.claim():
        assert await record_outcome(store, as_error(claimed), OWNER, NOW)
    await bench.add("deferred")
    for claimed in await bench.claim():
        assert await record_outcome(store, as_deferred(claimed, NOW + 0.1 + 0.2), OWNER, NOW)
    await bench.add("begun")
    for claimed in await bench.claim():
        assert await begin_final(store, claimed, OWNER, NOW, "handing over")
    await bench.add("plain", priority=0)
    await bench.add("strange", payload=BINARY, metadata=json.dumps(STRANGE), batch_code="spring")
    await _fill_the_rest(bench)


async def fill_secrets(store: Store) -> None:
    """A secret in every place that there is for one, and a check value; tenant acme has two accounts."""
    client, webhook, smtp, imap, storage, bounce = SECRETS
    auth = ClientAuth(method=AuthMethod.BEARER, token=client)
    await store.tenants.change(
        "acme", lambda old: replace(old, name=STRANGE, client_auth=auth, webhook_secret=webhook), NOW
    )
    await store.tenants.add(Tenant(id="bare"), "hash", NOW)
    account = Account(tenant_id="acme", id="secret", host="h", password=smtp, imap_password=imap)
    await store.accounts.add(account, NOW)
    files = Storage(
        tenant_id="acme", name="files", protocol=StorageProtocol.S3, config={"secret_key": storage}
    )
    await store.storages.put("acme", "files", lambda _old: files, NOW)
    await store.instance_settings.change(lambda old: replace(old, bounce_imap_password=bounce))


async def secrets_of(store: Store) -> list[str | None]:
    """What `fill_secrets` has filled, as it can be read."""
    tenant = await store.tenants.get("acme")
    account = await store.accounts.get("acme", "secret")
    [storage] = await store.storages.of_tenant("acme")
    settings = await store.instance_settings.get()
    return [
        tenant.client_auth.token,
        tenant.webhook_secret,
        account.password,
        account.imap_password,
        storage.config.get("secret_key"),
        settings.bounce_imap_password,
    ]


async def _fill_the_rest(bench: Bench) -> None:
    store = bench.store
    lane = await bench.account("limited", limit_per_hour=10)
    await bench.add("limited", account_id="limited", lane=lane)
    await store.queue.claim(lane, 1, OWNER, NOW, NOW + 30)
    lane = await bench.account("leaving")
    await bench.add("left", account_id="leaving", lane=lane)
    await store.accounts.delete("acme", "leaving", force=True)
    await store.suspensions.suspend("acme", "spring", NOW)
    command = Command(
        ts=NOW, endpoint="add", path="/x", tenant_id="acme", payload=json.dumps(STRANGE), client="127.0.0.1"
    )
    await store.commands.add(command)
    await store.settings.put("active", False)
    await store.nodes.seen(a_node(), NOW - 60)
    # The highest numbers are of rows that are gone: they must not be given again.
    await store.commands.add(command)
    await bench.execute("DELETE FROM commands WHERE command_id = (SELECT MAX(command_id) FROM commands)")


def a_node(name: str = "other@elsewhere", seen_at: float = NOW) -> NodeInfo:
    return NodeInfo(node_id=name, name=name, pid=1, version="1", started_at=seen_at, seen_at=seen_at)


async def be_seen(url: str, name: str = "yours@there", pid: int = 1) -> None:
    """Let a server be at work on a database, as far as can be seen."""
    async with open_store(url) as store:
        node = replace(a_node(name, (await clock_of(store.database)).now()), pid=pid)
        await store.nodes.seen(node, 0.0)


async def put_check(store: Store, value: str) -> None:
    """Say with which key the secrets are encrypted, as an instance does when it is opened first."""
    await store.settings.put(KEY_CHECK, value)


async def dump(database_url: str) -> Dump:
    """Every row of every table of ours, sorted, as text."""
    async with open_database(target_of(database_url), database_url) as database:
        found = {}
        for table in tables():
            rows = await database.read(ask, f"SELECT * FROM {table.name}")
            found[table.name] = sorted(repr(dict(row)) for row in rows)  # type: ignore[call-overload]
        return found


def files_in(directory: Path) -> list[str]:
    """What lies there, but for the logs of databases that are open."""
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(("-wal", "-shm")))


def damage(path: Path) -> None:
    """Overwrite pages in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(60 * PAGE)
        file.write(b"\xff" * 20 * PAGE)
