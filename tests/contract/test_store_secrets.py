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


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE tenants SET enc_webhook_secret = enc_client_auth",
        "UPDATE tenants SET enc_webhook_secret = 'ENC:AAAA'",
        "UPDATE tenants SET enc_webhook_secret = ''",
    ],
)
async def test_a_damaged_secret_of_a_tenant_spoils_nothing_else(bench: Bench, damage: str) -> None:
    """Nor one that was moved to another place: its other secret and other tenants are as they were."""
    await bench.store.tenants.add(Tenant(id="beta"), None, NOW)
    await store_secrets(bench.store)
    await bench.execute(f"{damage} WHERE id = 'acme'")

    damaged, whole = await bench.store.tenants.all()
    assert (damaged.webhook_secret, damaged.client_auth.token) == (None, SECRETS[2])
    assert damaged.unreadable == {"webhook_secret"}
    assert (whole.id, whole.unreadable) == ("beta", frozenset())

    await bench.store.tenants.delete("acme")
    assert [each.id for each in await bench.store.tenants.all()] == ["beta"]


async def test_a_damaged_secret_of_a_tenant_is_not_overwritten_by_nothing(bench: Bench) -> None:
    """Its application would be posted to without a login."""
    await store_secrets(bench.store)
    await bench.execute("UPDATE tenants SET enc_client_auth = 'ENC:AAAA'")

    with pytest.raises(KeyMismatch, match="cannot keep the client_auth of tenant 'acme'"):
        await bench.store.tenants.change("acme", lambda old: replace(old, name="new"), NOW)
    assert (await bench.store.tenants.get("acme")).unreadable == {"client_auth"}


async def test_a_damaged_secret_of_the_instance_is_not_overwritten_by_nothing(bench: Bench) -> None:
    """Neither by changing something else."""
    record = bench.store.instance_settings
    await record.change(lambda old: replace(old, bounce_imap_password=SECRETS[1]))
    kept = await bench.store.settings.get("instance")
    assert isinstance(kept, dict)
    await bench.store.settings.put("instance", kept | {"bounce_imap_password": "ENC:AAAA"})

    with pytest.raises(KeyMismatch, match="cannot keep the bounce_imap_password of the instance"):
        await record.change(lambda old: replace(old, name="new"))
    damaged = await record.get()
    assert (damaged.name, damaged.bounce_imap_password) == (None, None)
    assert damaged.unreadable == {"bounce_imap_password"}


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


async def test_a_wrong_key_reads_nothing(bench: Bench) -> None:
    """Not a garbled token, to be sent to a server."""
    await store_secrets(bench.store)
    wrong = Vault.of(FoundKey(bytes(32), "/somewhere/encryption.key"))

    async with open_store(bench.url, wrong) as store:
        tenant = await store.tenants.get("acme")
        assert (tenant.client_auth, tenant.webhook_secret) == (ClientAuth(), None)
        assert tenant.unreadable == {"client_auth", "webhook_secret"}
        assert (await store.accounts.get("acme", "secret")).unreadable == {"password", "imap_password"}


async def test_without_a_key_secrets_are_neither_read_nor_stored(bench: Bench) -> None:
    """What holds none works."""
    await store_secrets(bench.store)

    async with open_store(bench.url, Vault.without_key()) as store:
        with pytest.raises(KeyMismatch, match="cannot read accounts/acme/secret/password"):
            await store.accounts.get("acme", "secret")
        with pytest.raises(KeyMismatch, match="cannot read tenants/acme/client_auth"):
            await store.tenants.get("acme")
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
