"""Every secret encrypted anew: all or none, and nobody goes on with the old key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, KeyMismatch
from mail_proxy.model.accounts import Account
from mail_proxy.model.queue import NodeInfo
from mail_proxy.model.storages import Storage, StorageProtocol
from mail_proxy.model.tenants import Tenant
from mail_proxy.store import Store
from mail_proxy.store.key_check import KEY_CHECK
from mail_proxy.store.rekey import rekey, unreadable
from tests.support.everything import SECRETS, a_node, dump, fill_secrets, put_check, secrets_of
from tests.support.stores import KEY, NOW, Bench, open_store

OLD, NEW = Vault(KEY), Vault(bytes(32))

PLACES = [
    "tenants/acme/client_auth",
    "tenants/acme/webhook_secret",
    "accounts/acme/secret/password",
    "accounts/acme/secret/imap_password",
    "storages/acme/files/config",
    "settings/instance/bounce_imap_password",
]


@pytest.fixture
async def secretive(bench: Bench) -> Bench:
    """A store with a secret in every place that there is for one."""
    await fill_secrets(bench.store)
    await put_check(bench.store, OLD.check_value())
    return bench


async def change(bench: Bench, *, is_over: Callable[[NodeInfo], bool] = lambda _: False) -> int:
    return await rekey(bench.store.database, OLD, NEW, is_over=is_over, since=NOW - 30)


async def test_every_secret_is_read_with_the_new_key_and_none_with_the_old(secretive: Bench) -> None:
    """And the database says that this is the key now."""
    assert await change(secretive) == len(SECRETS)

    async with open_store(secretive.url, NEW) as store:
        assert await secrets_of(store) == list(SECRETS)
        assert await unreadable(store.database, OLD) == PLACES
        assert await unreadable(store.database, NEW) == []
        assert NEW.matches(str(await store.settings.get(KEY_CHECK)))


async def test_nothing_that_is_encrypted_is_left_as_it_was(secretive: Bench) -> None:
    """In no column of any table: one that comes later must not be forgotten."""
    before = {text for rows in (await dump(secretive.url)).values() for text in rows if "ENC:" in text}
    encrypted = {column for text in before for column in text.split("'") if column.startswith("enc_")}

    await change(secretive)

    after = {text for rows in (await dump(secretive.url)).values() for text in rows}
    assert before & after == set()
    assert encrypted == await encrypted_columns(secretive)


async def encrypted_columns(bench: Bench) -> set[str]:
    """Those of the schema, by their names."""
    if bench.store.database.dialect == "sqlite":
        names = "SELECT p.name FROM sqlite_master m JOIN pragma_table_info(m.name) p"
    else:
        names = "SELECT column_name AS name FROM information_schema.columns"
    return {row["name"] for row in await bench.rows(names) if row["name"].startswith("enc_")}


async def test_a_secret_that_cannot_be_read_keeps_all_as_they_are(secretive: Bench) -> None:
    """It would be lost unseen; it is named."""
    await secretive.execute("UPDATE accounts SET enc_password = 'ENC:AAAA' WHERE id = 'secret'")
    before = await dump(secretive.url)

    with pytest.raises(KeyMismatch, match="cannot be read: accounts/acme/secret/password; set them anew"):
        await change(secretive)

    assert await unreadable(secretive.store.database, OLD) == ["accounts/acme/secret/password"]
    assert await dump(secretive.url) == before


async def test_a_server_at_work_is_named(secretive: Bench) -> None:
    """It would go on with the old key; one that is known to have ended does not count, nor one long gone."""
    await secretive.store.nodes.seen(a_node("gone@here", NOW - 31), 0.0)
    await secretive.store.nodes.seen(a_node("mine@here"), 0.0)
    await secretive.store.nodes.seen(a_node("yours@there"), 0.0)
    before = await dump(secretive.url)

    with pytest.raises(Conflict, match=r"at work on this database: yours@there \(pid 1\); stop them"):
        await change(secretive, is_over=lambda node: node.name == "mine@here")

    assert await dump(secretive.url) == before
    assert await change(secretive, is_over=lambda node: node.name != "gone@here") == len(SECRETS)


async def test_the_second_of_two_changes_with_one_old_key_does_nothing(secretive: Bench) -> None:
    """As when two people do it at once."""
    await change(secretive)

    with pytest.raises(KeyMismatch, match="has just been changed by another"):
        await change(secretive)

    assert await unreadable(secretive.store.database, NEW) == []


FILES = Storage(tenant_id="acme", name="new", protocol=StorageProtocol.S3, config={"secret_key": "x"})

WRITING: dict[str, Callable[[Store], Awaitable[object]]] = {
    "a new tenant": lambda store: store.tenants.add(Tenant(id="new", webhook_secret="x"), None, NOW),
    "a tenant": lambda store: store.tenants.change("acme", lambda old: replace(old, webhook_secret="x"), NOW),
    "a new account": lambda store: store.accounts.add(
        Account(tenant_id="acme", id="new", host="h", password="x"), NOW
    ),
    "an account": lambda store: store.accounts.change(
        "acme", "main", lambda old: replace(old, password="x"), NOW
    ),
    "a storage": lambda store: store.storages.put("acme", "new", lambda _: FILES, NOW),
    "settings": lambda store: store.instance_settings.change(
        lambda old: replace(old, bounce_imap_password="x", unreadable=frozenset())
    ),
    "a server": lambda store: store.nodes.enter(a_node("new"), lambda _: True),
}


@pytest.mark.parametrize("what", WRITING)
async def test_who_has_the_old_key_still_writes_no_secret(secretive: Bench, what: str) -> None:
    """Nobody could read it: a command, or a server, that began before the change."""
    await change(secretive)
    before = await dump(secretive.url)

    with pytest.raises(KeyMismatch, match="the encryption key was changed while this was running"):
        await WRITING[what](secretive.store)

    assert await dump(secretive.url) == before


async def test_secrets_that_are_written_meanwhile_are_of_one_key(secretive: Bench) -> None:
    """Each change that was not refused is read with the new key, whichever was first."""
    store = secretive.store

    async def write(number: int) -> int | None:
        account = Account(tenant_id="acme", id=f"new-{number}", host="h", password=f"p{number}")
        try:
            await store.accounts.add(account, NOW)
        except KeyMismatch:
            return None
        return number

    async with open_store(secretive.url) as other:
        rotation = rekey(other.database, OLD, NEW, is_over=lambda _: False, since=NOW)
        _, *written = await asyncio.gather(rotation, *(write(number) for number in range(20)))

    async with open_store(secretive.url, NEW) as fresh:
        assert await unreadable(fresh.database, NEW) == []
        for number in written:
            if number is not None:
                assert (await fresh.accounts.get("acme", f"new-{number}")).password == f"p{number}"
