"""Tenants: what is stored comes back, keys are theirs alone, and deleting one deletes all that it had."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.commands import Command, CommandFilter
from mail_proxy.model.tenants import AuthMethod, ClientAuth, RateLimits, Tenant
from mail_proxy.store.tenants import KeyHolder
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_sent,
    begin_final,
    open_bench,
    open_store,
    record_outcome,
)

FULL = Tenant(
    id="full",
    name="Società Ünïcode",
    client_base_url="https://app.example.org",
    client_sync_path="/sync",
    client_attachment_path="/files",
    client_auth=ClientAuth(method=AuthMethod.BASIC, user="me", password="s3cret"),
    rate_limits=RateLimits(hourly=10, daily=100),
    large_file_config={"enabled": True, "max_size_mb": 5},
    webhook_secret="whsec",
    report_nulls=False,
    active=False,
    by_tenant=True,
)

BESIDES = (
    "INSERT INTO marking (tenant_id, batch_code, version) VALUES ('{0}', 'news', 1)",
    "INSERT INTO storages VALUES ('{0}', 'files', 'local', 'x', 0, 0, 0)",
    "INSERT INTO departures SELECT 1000 + COUNT(*), '{0}', 'gone' FROM departures",
)
"""What else a tenant may have; the next test puts it there behind the store's back."""


async def test_a_tenant_comes_back_as_it_was_given(bench: Bench) -> None:
    """Every field, secrets included."""
    added = await bench.store.tenants.add(FULL, None, NOW)

    expected = replace(FULL, created_at=NOW, updated_at=NOW)
    assert added == expected
    assert await bench.store.tenants.get("full") == expected


async def test_a_tenant_with_defaults(bench: Bench) -> None:
    """What was not given is what the model says."""
    assert await bench.store.tenants.get("acme") == Tenant(id="acme", created_at=NOW, updated_at=NOW)


async def test_tenants_are_listed_by_id(bench: Bench) -> None:
    """All of them, active or not."""
    await bench.store.tenants.add(FULL, None, NOW)
    await bench.store.tenants.add(Tenant(id="aaa"), None, NOW)

    assert [tenant.id for tenant in await bench.store.tenants.all()] == ["aaa", "acme", "full"]


async def test_an_id_is_given_once(bench: Bench) -> None:
    """A second tenant of the same id is refused, and the first stays."""
    with pytest.raises(Conflict, match="tenant 'acme' exists already"):
        await bench.store.tenants.add(Tenant(id="acme", name="other"), None, NOW)
    assert (await bench.store.tenants.get("acme")).name is None


async def test_a_change_is_made_to_what_is_stored(bench: Bench) -> None:
    """Only what the change says differs afterwards, and the moment of it."""
    await bench.store.tenants.add(FULL, "hash", NOW)

    changed = await bench.store.tenants.change("full", lambda old: replace(old, name="New"), NOW + 9)

    assert changed == replace(FULL, name="New", has_api_key=True, created_at=NOW, updated_at=NOW + 9)


async def test_a_change_that_fails_changes_nothing(bench: Bench) -> None:
    """What the change raises reaches the caller."""

    def refuse(_: Tenant) -> Tenant:
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await bench.store.tenants.change("acme", refuse, NOW + 9)
    assert (await bench.store.tenants.get("acme")).updated_at == NOW


async def test_changes_of_different_nodes_do_not_undo_each_other(database_url: str) -> None:
    """Each is made to what the other has written, not to what it read before."""

    def named_longer(old: Tenant) -> Tenant:
        return replace(old, name=f"{old.name or ''}x")

    async with open_bench(database_url) as one, open_store(database_url) as other:
        await asyncio.gather(
            *(store.tenants.change("acme", named_longer, NOW) for store in [one.store, other] * 6)
        )
        assert (await one.store.tenants.get("acme")).name == "x" * 12


async def test_a_tenant_that_is_not_there(bench: Bench) -> None:
    """Whatever is asked of it."""
    tenants = bench.store.tenants

    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        await tenants.get("nobody")
    with pytest.raises(NotFound):
        await tenants.change("nobody", lambda old: old, NOW)
    with pytest.raises(NotFound):
        await tenants.set_key("nobody", "hash", None, NOW)
    with pytest.raises(NotFound):
        await tenants.delete("nobody")


async def test_a_key_leads_to_its_holder(bench: Bench) -> None:
    """With what decides whether it is valid."""
    await bench.store.tenants.add(FULL, "hash-1", NOW)
    full, acme = [await bench.store.tenants.standing(each) for each in ("full", "acme")]
    assert full is not None
    assert acme is not None
    await bench.store.tenants.set_key("acme", "hash-2", NOW + 60, NOW)

    assert await bench.store.tenants.by_key("hash-1") == KeyHolder(
        "full", active=False, version=full.version, expires_at=None
    )
    assert await bench.store.tenants.by_key("hash-2") == KeyHolder(
        "acme", active=True, version=acme.version + 1, expires_at=NOW + 60
    )
    assert await bench.store.tenants.by_key("hash-3") is None


async def test_a_new_key_ends_the_old_one(bench: Bench) -> None:
    """At once; and a revoked one leads nowhere."""
    await bench.store.tenants.set_key("acme", "old", None, NOW)
    await bench.store.tenants.set_key("acme", "new", None, NOW)
    assert await bench.store.tenants.by_key("old") is None
    assert (await bench.store.tenants.get("acme")).has_api_key

    await bench.store.tenants.set_key("acme", None, None, NOW)
    assert await bench.store.tenants.by_key("new") is None
    assert not (await bench.store.tenants.get("acme")).has_api_key


async def test_suspensions_come_with_the_tenant(bench: Bench) -> None:
    """Sorted; and replacing the configuration leaves them."""
    await bench.execute("INSERT INTO suspensions VALUES ('acme', 'news', 0), ('acme', '*', 0)")

    changed = await bench.store.tenants.change("acme", lambda old: replace(old, name="n"), NOW)

    assert changed.suspended_batches == ("*", "news")


async def test_deleting_a_tenant_deletes_all_that_it_had(bench: Bench) -> None:
    """Accounts, messages in every state, contents, events, sendings and the like; others keep theirs."""
    lane = await bench.account("theirs", "beta", limit_per_hour=10)
    for name in ("sent", "waiting", "claimed"):
        await bench.add(name, tenant_id="beta", account_id="theirs", lane=lane)
    [claimed, *_] = (await bench.store.queue.claim(lane, 2, OWNER, NOW, NOW + 30)).messages
    await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)
    await bench.execute("INSERT INTO suspensions VALUES ('beta', 'news', 0), ('acme', 'mine', 0)")
    for tenant_id in ("acme", "beta"):
        for statement in BESIDES:
            await bench.execute(statement.format(tenant_id))
    await bench.sent("mine")

    await bench.store.tenants.delete("beta")

    tables = ("accounts", "messages", "suspensions", "marking", "departures", "storages", "sync_state")
    left = {
        table: [row["tenant_id"] for row in await bench.rows(f"SELECT tenant_id FROM {table}")]
        for table in tables
    }
    assert left == {table: ["acme"] for table in tables}
    assert len(await bench.rows("SELECT seq FROM payloads")) == 1
    assert {row["tenant_id"] for row in await bench.rows("SELECT tenant_id FROM events")} == {"acme"}
    assert await bench.rows("SELECT seq FROM send_log WHERE tenant_id = 'beta'") == []


async def test_that_a_deleted_tenant_was_asked_for_something_stays_but_not_what(bench: Bench) -> None:
    """The command log is the instance's; what it holds of the tenant's data goes."""
    await bench.account("theirs", "beta")
    for tenant_id in ("acme", "beta"):
        command = Command(ts=NOW, endpoint="PUT /x", path="/x", tenant_id=tenant_id, payload="{}", status=200)
        await bench.store.commands.add(command)

    await bench.store.tenants.delete("beta")

    kept = await bench.store.commands.oldest(CommandFilter(), 10)
    assert [(each.tenant_id, each.payload, each.status) for each in kept] == [
        ("acme", "{}", 200),
        ("beta", None, 200),
    ]


async def test_no_table_is_forgotten_when_a_tenant_is_deleted(postgres_url: str) -> None:
    """A new table with tenants' data must be among those that the tests above look into."""
    async with open_bench(postgres_url) as bench:
        rows = await bench.rows(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name IN ('tenant_id', 'seq')"
        )

    assert {row["table_name"] for row in rows} == {
        "accounts", "messages", "payloads", "events", "send_log", "suspensions", "marking", "departures",
        "storages", "sync_state", "commands",
    }  # fmt: skip


async def test_an_outcome_for_a_deleted_tenant_is_dropped(bench: Bench) -> None:
    """Its last conversation ends, and there is nothing to settle any more."""
    await bench.add("m")
    [claimed] = await bench.claim()
    await bench.store.tenants.delete("acme")

    assert not await record_outcome(bench.store, as_sent(claimed), OWNER, NOW)
    assert not await begin_final(bench.store, claimed, OWNER, NOW, "late")
