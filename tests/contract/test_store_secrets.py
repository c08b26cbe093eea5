"""Secrets at rest: never in clear, bound to their place, refused without the right key."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mail_proxy.encryption import FoundKey, Vault
from mail_proxy.errors import KeyMismatch
from mail_proxy.model.accounts import Account
from mail_proxy.model.tenants import AuthMethod, ClientAuth, Tenant
from mail_proxy.store import Store
from tests.support.stores import NOW, Bench, open_store

SECRETS = ("smtp-s3cret", "imap-s3cret", "bearer-s3cret", "webhook-s3cret")
COLUMNS = {
    "accounts": ("enc_password", "enc_imap_password"),
    "tenants": ("enc_client_auth", "enc_webhook_secret"),
}


async def store_secrets(store: Store, tenant_id: str = "acme", account_id: str = "secret") -> None:
    account = Account(
        tenant_id=tenant_id, id=account_id, host="h", password=SECRETS[0], imap_password=SECRETS[1]
    )
    auth = ClientAuth(method=AuthMethod.BEARER, token=SECRETS[2])
    await store.tenants.change(
        tenant_id, lambda old: replace(old, client_auth=auth, webhook_secret=SECRETS[3]), NOW
    )
    await store.accounts.add(account, NOW)


async def sealed(bench: Bench) -> list[str]:
    found = []
    for table, columns in COLUMNS.items():
        for column in columns:
            rows = await bench.rows(f"SELECT {column} AS secret FROM {table} WHERE {column} IS NOT NULL")
            found += [row["secret"] for row in rows]
    return found


async def test_secrets_are_stored_encrypted(bench: Bench) -> None:
    """Each column holds `ENC:` and base64, and no part of what was given."""
    await store_secrets(bench.store)

    stored = await sealed(bench)

    assert len(stored) == 4
    assert all(value.startswith("ENC:") for value in stored)
    assert not any(secret in value for secret in SECRETS for value in stored)


async def test_no_secret_is_anywhere_in_the_file(sqlite_url: str) -> None:
    """Neither in the database nor in its write-ahead log, whatever happened to the rows."""
    async with open_store(sqlite_url) as store:
        await store.tenants.add(Tenant(id="acme"), None, NOW)
        await store_secrets(store)
        await store.accounts.change("acme", "secret", lambda old: replace(old, password="smtp-s3cret-2"), NOW)
        content = b"".join(path.read_bytes() for path in Path(sqlite_url).parent.glob("mail_service.db*"))

    assert b"secret" in content  # the account's id: the rows are there
    assert b"s3cret" not in content


async def test_the_same_secret_is_encrypted_differently_each_time(bench: Bench) -> None:
    """Equal passwords do not show as equal."""
    await store_secrets(bench.store)
    await bench.account("other", password=SECRETS[0])

    stored = await sealed(bench)

    assert len(set(stored)) == len(stored) == 5


@pytest.mark.parametrize(
    ("move", "account_id"),
    [
        ("UPDATE accounts SET enc_password = (SELECT MAX(a.enc_password) FROM accounts a)", "main"),
        ("UPDATE accounts SET enc_password = enc_imap_password", "secret"),
        ("UPDATE accounts SET tenant_id = 'beta' WHERE id = 'secret'", "secret"),
    ],
)
async def test_a_password_moved_to_another_place_cannot_be_read(
    bench: Bench, move: str, account_id: str
) -> None:
    """Whoever can write into the database cannot have a password sent to another server."""
    await bench.store.tenants.add(Tenant(id="beta"), None, NOW)
    await store_secrets(bench.store)
    await bench.execute(move)

    [account] = await bench.store.accounts.named(account_id)
    assert (account.password, "password" in account.unreadable) == (None, True)


async def test_a_secret_of_a_tenant_moved_to_another_place_cannot_be_read(bench: Bench) -> None:
    """It is refused, naming the place."""
    await store_secrets(bench.store)
    await bench.execute("UPDATE tenants SET enc_webhook_secret = enc_client_auth")

    with pytest.raises(KeyMismatch, match="cannot read tenants/acme/webhook_secret"):
        await bench.store.tenants.all()


async def test_a_damaged_password_spoils_nothing_else(bench: Bench) -> None:
    """The account can be read and removed, its other password and other accounts are as they were."""
    await store_secrets(bench.store)
    await bench.execute("UPDATE accounts SET enc_password = 'ENC:AAAA' WHERE id = 'secret'")

    damaged = await bench.store.accounts.get("acme", "secret")
    assert (damaged.password, damaged.imap_password) == (None, SECRETS[1])
    assert damaged.unreadable == {"password"}
    assert [each.id for each in await bench.store.accounts.all()] == ["main", "secret"]

    await bench.store.accounts.delete("acme", "secret", force=False)
    assert [each.id for each in await bench.store.accounts.all()] == ["main"]


async def test_a_damaged_password_is_not_overwritten_by_nothing(bench: Bench) -> None:
    """An account that had one does not go on without."""
    await store_secrets(bench.store)
    await bench.execute("UPDATE accounts SET enc_password = 'ENC:AAAA' WHERE id = 'secret'")

    with pytest.raises(KeyMismatch, match="cannot keep the password of account 'secret'"):
        await bench.store.accounts.change("acme", "secret", lambda old: replace(old, ttl=1), NOW)
    assert (await bench.store.accounts.get("acme", "secret")).unreadable == {"password"}


async def test_a_wrong_key_is_refused_naming_what_and_which(bench: Bench) -> None:
    """Not a garbled token sent to a server."""
    await store_secrets(bench.store)
    wrong = Vault.of(FoundKey(bytes(32), "/somewhere/encryption.key"))

    async with open_store(bench.url, wrong) as store:
        what = "cannot read tenants/acme/client_auth with the key of /somewhere/encryption.key"
        with pytest.raises(KeyMismatch, match=what):
            await store.tenants.get("acme")
        assert (await store.accounts.get("acme", "secret")).unreadable == {"password", "imap_password"}


async def test_without_a_key_secrets_are_neither_read_nor_stored(bench: Bench) -> None:
    """What holds none works."""
    await store_secrets(bench.store)

    async with open_store(bench.url, Vault.without_key()) as store:
        with pytest.raises(KeyMismatch, match="cannot read accounts/acme/secret/password"):
            await store.accounts.get("acme", "secret")
        with pytest.raises(KeyMismatch, match="storing a secret needs an encryption key"):
            await store.accounts.add(Account(tenant_id="acme", id="x", host="h", password="p"), NOW)
        assert (await store.accounts.get("acme", "main")).password is None
        assert [account.id for account in await store.accounts.named("x")] == []


async def test_a_refused_secret_leaves_the_database_as_it_was(bench: Bench) -> None:
    """The account exists with its old configuration, and the store goes on working."""
    async with open_store(bench.url, Vault.without_key()) as store:
        with pytest.raises(KeyMismatch):
            await store.accounts.change(
                "acme", "main", lambda old: replace(old, host="new", password="p"), NOW
            )
        assert (await store.accounts.get("acme", "main")).host == "sandbox"
