"""Accounts: what is stored comes back, within its tenant; deleting one tells what waited for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mail_proxy.errors import Conflict, NotFound
from mail_proxy.model.accounts import Account, LimitBehavior, OnUnknown, TlsMode
from mail_proxy.model.queue import Departure
from mail_proxy.model.tenants import Tenant
from tests.support.stores import (
    NOW,
    OWNER,
    Bench,
    as_deferred,
    open_bench,
    open_store,
    record_outcome,
)
from tests.support.telling import due_of

FULL = Account(
    tenant_id="acme",
    id="full",
    host="smtp.example.org",
    port=2525,
    user="me@example.org",
    password="pässword",
    tls=TlsMode.STARTTLS,
    use_tls=False,
    tls_verify=False,
    tls_ca="-----BEGIN CERTIFICATE-----\nx\n",
    from_address="Shop <shop@example.org>",
    ttl=60,
    batch_size=5,
    max_concurrent=2,
    limit_per_minute=1,
    limit_per_hour=2,
    limit_per_day=3,
    limit_behavior=LimitBehavior.REJECT,
    on_unknown=OnUnknown.HOLD,
    is_pec_account=True,
    imap_host="imap.example.org",
    imap_port=143,
    imap_user="imap",
    imap_password="imapsecret",
    imap_folder="Posta",
    imap_ssl=False,
    by_tenant=True,
)


async def test_an_account_comes_back_as_it_was_given(bench: Bench) -> None:
    """Every field, secrets included, with a lane of its own."""
    added = await bench.store.accounts.add(FULL, NOW)

    expected = replace(FULL, lane=added.lane, created_at=NOW, updated_at=NOW)
    assert added == expected
    assert added.lane not in (0, bench.lane)
    assert await bench.store.accounts.get("acme", "full") == expected
    assert await bench.store.accounts.of_lane(added.lane) == expected


async def test_an_account_with_defaults(bench: Bench) -> None:
    """What was not given is what the model says."""
    account = await bench.store.accounts.get("acme", "main")

    assert account == Account(
        tenant_id="acme", id="main", host="sandbox", lane=bench.lane, created_at=NOW, updated_at=NOW
    )


async def test_accounts_are_listed_by_tenant_and_id(bench: Bench) -> None:
    """Of one tenant, of all, and by a name that several tenants use."""
    await bench.account("aaa")
    await bench.account("main", "beta")

    assert [each.id for each in await bench.store.accounts.of_tenant("acme")] == ["aaa", "main"]
    assert [(each.tenant_id, each.id) for each in await bench.store.accounts.all()] == [
        ("acme", "aaa"),
        ("acme", "main"),
        ("beta", "main"),
    ]
    assert [each.tenant_id for each in await bench.store.accounts.named("main")] == ["acme", "beta"]
    assert await bench.store.accounts.of_tenant("nobody") == []
    assert await bench.store.accounts.of_lane(10**6) is None


async def test_an_id_is_given_once_within_a_tenant(bench: Bench) -> None:
    """The first account stays as it is."""
    with pytest.raises(Conflict, match="tenant 'acme' has an account 'main' already"):
        await bench.account("main", host="other.example.org")
    assert (await bench.store.accounts.get("acme", "main")).host == "sandbox"


async def test_an_account_needs_its_tenant(bench: Bench) -> None:
    """Also when the tenant was deleted a moment ago."""
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        await bench.store.accounts.add(Account(tenant_id="nobody", id="a", host="h"), NOW)


async def test_a_change_keeps_the_lane(bench: Bench) -> None:
    """What waits goes out through the changed account."""
    changed = await bench.store.accounts.change("acme", "main", lambda old: replace(old, host="new"), NOW + 1)

    assert (changed.host, changed.lane, changed.created_at, changed.updated_at) == (
        "new", bench.lane, NOW, NOW + 1,
    )  # fmt: skip


async def test_changes_of_different_nodes_do_not_undo_each_other(database_url: str) -> None:
    """Each is made to what the other has written, not to what it read before."""
    async with open_bench(database_url) as one, open_store(database_url) as other:
        await asyncio.gather(
            *(
                store.accounts.change("acme", "main", lambda old: replace(old, ttl=old.ttl + 1), NOW)
                for store in [one.store, other] * 6
            )
        )
        assert (await one.store.accounts.get("acme", "main")).ttl == 300 + 12


@pytest.mark.parametrize("tenant_id", ["acme", "beta"])
async def test_an_account_of_another_tenant_is_not_there(bench: Bench, tenant_id: str) -> None:
    """Whatever is asked of it."""
    await bench.store.tenants.add(Tenant(id="beta"), None, NOW)
    account_id = "main" if tenant_id == "beta" else "none"
    accounts = bench.store.accounts

    with pytest.raises(NotFound, match=f"no account '{account_id}'"):
        await accounts.get(tenant_id, account_id)
    with pytest.raises(NotFound):
        await accounts.change(tenant_id, account_id, lambda old: old, NOW)
    with pytest.raises(NotFound):
        await accounts.delete(tenant_id, account_id, force=True)


async def test_an_idle_account_is_deleted(bench: Bench) -> None:
    """What it sent stays in the history."""
    await bench.sent("m")

    assert await bench.store.accounts.delete("acme", "main", force=False) == Departure(bench.lane, 0)
    with pytest.raises(NotFound):
        await bench.store.accounts.get("acme", "main")
    assert (await bench.get("m")).status.value == "sent"


@pytest.mark.parametrize("state", ["pending", "deferred", "sending"])
async def test_an_account_with_queued_messages_is_not_deleted(bench: Bench, state: str) -> None:
    """It says how many there are and what force would do; the messages are untouched."""
    await bench.add("m", "n", deferred_ts=NOW + 60 if state == "deferred" else None)
    if state == "sending":
        await bench.claim()

    with pytest.raises(Conflict, match="account 'main' has 2 queued messages; with force they become errors"):
        await bench.store.accounts.delete("acme", "main", force=False)
    assert (await bench.get("m")).status.value == state


async def test_with_force_what_waits_becomes_an_error_and_is_told(bench: Bench) -> None:
    """Pending and scheduled ones; the application hears of each."""
    await bench.add("pending")
    await bench.add("scheduled", deferred_ts=NOW + 60)

    assert await bench.delete_account(now=NOW + 1) == 2

    for name in ("pending", "scheduled"):
        message = await bench.get(name)
        assert (message.status, message.error, message.error_ts, message.deferred_ts) == (
            "error", "account deleted", NOW + 1, None,
        )  # fmt: skip
    entries = await due_of(bench.store)
    assert {(each.id, each.event_type.value, str(each.event_data)) for each in entries} == {
        ("pending", "error", "{'error': 'account deleted'}"),
        ("scheduled", "error", "{'error': 'account deleted'}"),
    }


async def test_what_is_being_sent_ends_by_itself(bench: Bench) -> None:
    """A conversation of a deleted account is settled; if it has to be repeated, the lane is shown as gone."""
    await bench.add("m")
    [claimed] = await bench.claim()
    assert await bench.delete_account() == 0

    assert await record_outcome(bench.store, as_deferred(claimed, NOW + 5), OWNER, NOW)
    await bench.store.queue.promote(NOW + 5)

    assert [ready.is_gone for ready in (await bench.store.queue.look()).lanes] == [True]


async def test_a_lane_is_never_used_again(bench: Bench) -> None:
    """A new account of the same name does not inherit the old one's queue or limits."""
    await bench.delete_account()

    assert await bench.account("main") > bench.lane
