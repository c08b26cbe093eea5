"""Accounts: creating, replacing, changing, deleting, and where their passwords may go."""

from __future__ import annotations

import asyncio
import logging

import pytest

from mail_proxy.encryption import Vault
from mail_proxy.errors import Conflict, DatabaseUnavailable, InvalidInput, NotFound
from mail_proxy.model.accounts import Account, LimitBehavior, OnUnknown, TlsMode
from mail_proxy.services.accounts import AccountsService
from mail_proxy.store import Store
from tests.support.flaky_database import FlakyDatabase
from tests.support.services import NOW, Desk, message
from tests.support.stores import KEY
from tests.support.telling import pending_of

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

FULL = {
    "id": "full",
    "host": "smtp.example.org",
    "port": 465,
    "user": "me",
    "password": "pw",
    "tls": "ssl",
    "use_tls": True,
    "tls_verify": False,
    "tls_ca": PEM,
    "from_address": "Shop <shop@example.org>",
    "ttl": 0,
    "batch_size": 5,
    "max_concurrent": 2,
    "limit_per_minute": 1,
    "limit_per_hour": 2,
    "limit_per_day": 3,
    "limit_behavior": "reject",
    "on_unknown": "hold",
    "is_pec_account": True,
    "imap_host": "imap.example.org",
    "imap_port": 143,
    "imap_user": "imap",
    "imap_password": "imappw",
    "imap_folder": "Posta",
    "imap_ssl": False,
}


async def faults(asked: object) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        await asked  # type: ignore[misc]  # the coroutine of a service
    return {".".join(str(part) for part in fault.loc) for fault in caught.value.faults}


# Creating, replacing, changing


async def test_a_whole_account(desk: Desk) -> None:
    """Every field of the API."""
    account = await desk.services.accounts.create("acme", FULL)

    assert account == Account(
        tenant_id="acme",
        **FULL
        | {
            "tls": TlsMode.SSL,
            "limit_behavior": LimitBehavior.REJECT,
            "on_unknown": OnUnknown.HOLD,
            "lane": account.lane,
            "created_at": NOW,
            "updated_at": NOW,
        },  # type: ignore[arg-type]  # fields of Account
    )


async def test_an_id_is_given_once_within_a_tenant(desk: Desk) -> None:
    """And a tenant must be there."""
    with pytest.raises(Conflict, match="tenant 'acme' has an account 'main' already"):
        await desk.services.accounts.create("acme", {"id": "main", "host": "h"})
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        await desk.services.accounts.create("nobody", {"id": "main", "host": "h"})
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        await desk.services.accounts.replace("nobody", {"id": "main", "host": "h"})


async def test_replacing_resets_what_is_left_out(desk: Desk) -> None:
    """Passwords included; the queue and the moment of creation stay."""
    old = await desk.services.accounts.create("acme", FULL)
    desk.clock.advance(9)

    new = await desk.services.accounts.replace("acme", {"id": "full", "host": "new.example.org"})

    assert new == Account(
        tenant_id="acme",
        id="full",
        host="new.example.org",
        lane=old.lane,
        created_at=NOW,
        updated_at=NOW + 9,
    )


async def test_replacing_at_once_creates_once(desk: Desk) -> None:
    """Ten requests for an account that is not there: one account, no conflict."""
    given = {"id": "new", "host": "h"}
    answers = await asyncio.gather(*(desk.services.accounts.replace("acme", given) for _ in range(10)))

    assert len({account.lane for account in answers}) == 1


async def test_changing_touches_only_what_it_names(desk: Desk) -> None:
    """Null empties what may be empty."""
    old = await desk.services.accounts.create("acme", FULL)

    new = await desk.services.accounts.update("acme", "full", {"ttl": 60, "user": None, "batch_size": None})

    assert (new.ttl, new.user, new.batch_size) == (60, None, None)
    assert (new.host, new.password, new.limit_per_day) == (old.host, old.password, old.limit_per_day)


async def test_an_account_is_found_by_its_id_alone_when_that_is_unique(desk: Desk) -> None:
    """Else its tenant must be said; `default` has the last word."""
    await desk.services.tenants.create({"id": "beta"})
    for tenant_id, account_id in (("beta", "theirs"), ("beta", "both"), ("acme", "both"), ("default", "own")):
        await desk.services.accounts.create(tenant_id, {"id": account_id, "host": "h"})

    find = desk.services.accounts.find
    assert (await find("theirs")).tenant_id == "beta"
    assert (await find("both", "acme")).tenant_id == "acme"
    assert (await find("own")).tenant_id == "default"
    with pytest.raises(Conflict, match=r"several tenants have an account 'both' \(acme, beta\): say which"):
        await find("both")
    with pytest.raises(NotFound, match="no account 'none'"):
        await find("none")
    with pytest.raises(NotFound):
        await find("theirs", "acme")


async def test_lists_are_of_one_tenant_or_of_all(desk: Desk) -> None:
    """By tenant and id."""
    await desk.services.accounts.create("default", {"id": "own", "host": "h"})

    assert [each.id for each in await desk.services.accounts.list("acme")] == ["main"]
    assert [each.id for each in await desk.services.accounts.list()] == ["main", "own"]


# Deleting


async def test_an_account_with_queued_messages_needs_force(desk: Desk) -> None:
    """Then they are errors, the application is told, and reporting is woken."""
    await desk.submit(message("a"), message("b", deferred_ts=NOW + 60))
    with pytest.raises(Conflict, match="has 2 queued messages; with force they become errors"):
        await desk.services.accounts.delete("acme", "main")
    desk.bell.rings.clear()

    assert await desk.services.accounts.delete("acme", "main", force=True) == 2

    assert desk.bell.rings == [False]
    found = [await desk.services.messages.get("acme", each) for each in "ab"]
    assert [(each.status, each.error) for each in found] == [("error", "account deleted")] * 2
    assert await pending_of(desk.runtime.store) == 2


async def test_a_deletion_lasts_when_the_database_goes_away_amid_it(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The account is gone and sends nothing; what waits for it fails at the next look."""
    await desk.submit(message("a"), message("b", deferred_ts=NOW + 60))
    database = FlakyDatabase(desk.runtime.store.database)
    accounts = AccountsService(Store.over(database, Vault(KEY)), desk.clock, desk.bell)
    database.away = {"fail_left": 2}

    assert await accounts.delete("acme", "main", force=True) == 2

    assert "account acme/main is deleted, but what waits for it is still to fail" in caplog.text
    with pytest.raises(NotFound):
        await accounts.get("acme", "main")
    with pytest.raises(DatabaseUnavailable):
        await accounts.catch_up()
    desk.bell.rings.clear()
    for _ in range(2):
        await accounts.catch_up()
        assert desk.bell.rings == [False]
    found = [await desk.services.messages.get("acme", each) for each in "ab"]
    assert [(each.status, each.error) for each in found] == [("error", "account deleted")] * 2


async def test_an_idle_account_needs_none(desk: Desk) -> None:
    """And is gone."""
    assert await desk.services.accounts.delete("acme", "main") == 0
    for force in (False, True):
        with pytest.raises(NotFound):
            await desk.services.accounts.delete("acme", "main", force=force)


# Validation


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"id": None}, {"id"}),
        ({"id": "a b"}, {"id"}),
        ({"host": None}, {"host"}),
        ({"host": ""}, {"host"}),
        ({"host": "a b"}, {"host"}),
        ({"host": "http://a"}, {"host"}),
        ({"host": "a\0b"}, {"host"}),
        ({"host": "x" * 254}, {"host"}),
        ({"port": 0}, {"port"}),
        ({"port": 65536}, {"port"}),
        ({"port": "25"}, {"port"}),
        ({"port": True}, {"port"}),
        ({"port": None}, {"port"}),
        ({"user": "a\nb"}, {"user"}),
        ({"password": ""}, {"password"}),
        ({"password": "a\0b"}, {"password"}),
        ({"password": 7}, {"password"}),
        ({"tls": "sometimes"}, {"tls"}),
        ({"use_tls": "yes"}, {"use_tls"}),
        ({"tls_verify": None}, {"tls_verify"}),
        ({"tls_ca": ""}, {"tls_ca"}),
        ({"tls_ca": "a\0b"}, {"tls_ca"}),
        ({"tls_ca": PEM + "\0"}, {"tls_ca"}),
        ({"tls_ca": "x" * 1_000_001}, {"tls_ca"}),
        ({"from_address": "nobody"}, {"from_address"}),
        ({"from_address": "a@b.it\r\nBcc: c@d.it"}, {"from_address"}),
        ({"ttl": -1}, {"ttl"}),
        ({"ttl": 86_401}, {"ttl"}),
        ({"batch_size": 0}, {"batch_size"}),
        ({"max_concurrent": 0}, {"max_concurrent"}),
        ({"limit_per_minute": -1}, {"limit_per_minute"}),
        ({"limit_per_hour": 1.5}, {"limit_per_hour"}),
        ({"limit_per_day": 10**12}, {"limit_per_day"}),
        ({"limit_behavior": "drop"}, {"limit_behavior"}),
        ({"on_unknown": "ignore"}, {"on_unknown"}),
        ({"is_pec_account": 1}, {"is_pec_account"}),
        ({"imap_host": "a b"}, {"imap_host"}),
        ({"imap_port": -1}, {"imap_port"}),
        ({"imap_password": ""}, {"imap_password"}),
        ({"imap_folder": "a\nb"}, {"imap_folder"}),
        ({"imap_ssl": "no"}, {"imap_ssl"}),
        ({"id": None, "host": None, "port": "x", "tls": 7}, {"id", "host", "port", "tls"}),
    ],
)
async def test_a_fault_names_its_field(desk: Desk, fields: dict[str, object], faulty: set[str]) -> None:
    """All at once; nothing is created."""
    given = {"id": "new", "host": "h"} | fields

    assert await faults(desk.services.accounts.create("acme", given)) == faulty
    assert await faults(desk.services.accounts.replace("acme", given)) == faulty
    assert [each.id for each in await desk.services.accounts.list()] == ["main"]


async def test_a_host_cannot_be_taken_away(desk: Desk) -> None:
    """A change that names it must give it, and tells its other faults, too."""
    asked = desk.services.accounts.update("acme", "main", {"host": None, "port": 0})

    assert await faults(asked) == {"host", "port"}


async def test_a_change_that_ends_a_rest_is_told_in_the_log_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mail_proxy")
    store = desk.runtime.store
    await store.circuits.trip(await store.accounts.get("acme", "main"), "535 no", desk.clock.now())
    for ttl in (60, 61):
        await desk.services.accounts.update("acme", "main", {"ttl": ttl})
    assert caplog.messages == ["account acme/main rests no longer: it was changed"]
