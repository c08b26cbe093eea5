"""Accounts over HTTP (contract: http-api.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.services.inputs import AccountInput
from tests.support.api import STRANGE, Api, Json, message, open_api

SECRET = "p4ssw0rd-of-the-tests"
WITH_SECRETS: Json = {
    "id": "main",
    "host": "smtp.example.org",
    "user": "ann",
    "password": SECRET,
    "imap_host": "imap.example.org",
    "imap_user": "ann",
    "imap_password": SECRET,
}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        await api.add_tenant("acme")
        yield api


async def test_an_account_is_created_and_shown_flat_without_its_passwords(api: Api) -> None:
    answers = [
        await api.post("/account", {"tenant_id": "acme", **WITH_SECRETS}),
        await api.get("/account/main?tenant_id=acme"),
        await api.get("/accounts?tenant_id=acme"),
        await api.put("/account/main?tenant_id=acme", {"ttl": 60}),
    ]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[0].body == {"ok": True}
    assert not any(SECRET in answer.text or '"password"' in answer.text for answer in answers)
    shown = answers[1].body
    assert (shown["ok"], shown["host"], shown["port"], shown["user"]) == (
        True,
        "smtp.example.org",
        587,
        "ann",
    )
    assert shown["created_at"].endswith("Z")


async def test_without_a_tenant_the_admin_creates_for_default(api: Api) -> None:
    await api.post("/account", {"id": "main", "host": "sandbox"})
    assert (await api.get("/account/main")).body["tenant_id"] == "default"


async def test_post_replaces_and_put_changes(api: Api) -> None:
    await api.post("/account", {"tenant_id": "acme", "id": "main", "host": "a.example", "ttl": 60})
    await api.post("/account", {"tenant_id": "acme", "id": "main", "host": "a.example"})
    assert (await api.get("/account/main")).body["ttl"] == 300
    changed = await api.put("/account/main", {"limit_per_hour": 7})
    assert (changed.body["limit_per_hour"], changed.body["host"]) == (7, "a.example")
    assert (await api.get("/account/main")).body == changed.body


async def test_the_admin_may_leave_the_tenant_out_while_the_id_is_unique(api: Api) -> None:
    await api.add_account("acme", "main")
    assert (await api.get("/account/main")).body["tenant_id"] == "acme"
    assert (await api.put("/account/main", {"ttl": 1})).body["tenant_id"] == "acme"
    await api.add_account("default", "main")
    ambiguous = [
        await api.get("/account/main"),
        await api.put("/account/main", {"ttl": 2}),
        await api.delete("/account/main"),
    ]
    assert [answer.status for answer in ambiguous] == [409] * 3
    assert all("acme" in answer.body["error"] for answer in ambiguous)
    assert (await api.get("/account/main?tenant_id=default")).body["tenant_id"] == "default"
    assert (await api.put("/account/main", {"tenant_id": "acme", "ttl": 3})).body["ttl"] == 3
    assert (await api.delete("/account/main?tenant_id=acme")).body == {"ok": True}
    assert (await api.get("/account/main")).body["tenant_id"] == "default"


async def test_the_query_and_the_body_may_not_disagree(api: Api) -> None:
    answer = await api.post("/account?tenant_id=acme", {"tenant_id": "default", "id": "a", "host": "sandbox"})
    assert (answer.status, answer.fields) == (422, ["tenant_id"])


@pytest.mark.parametrize("tenant_id", [7, True, [], {}, ["acme"], "../acme", "", "x" * 129])
async def test_a_tenant_id_that_is_no_id_is_422(api: Api, tenant_id: object) -> None:
    answer = await api.post("/account", {"tenant_id": tenant_id, "id": "main", "host": "sandbox"})
    assert (answer.status, answer.fields) == (422, ["tenant_id"])


async def test_an_account_of_an_unknown_tenant_is_404(api: Api) -> None:
    answer = await api.post("/account", {"tenant_id": "absent", "id": "main", "host": "sandbox"})
    assert answer.status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("query", ["", "?tenant_id=acme", "?tenant_id=absent"])
async def test_an_unknown_account_is_404(api: Api, method: str, query: str) -> None:
    answer = await api.call(method, f"/account/absent{query}", {} if method == "PUT" else None)
    assert (answer.status, answer.body["error"]) == (404, "no account 'absent'")


async def test_every_fault_is_told_at_once(api: Api) -> None:
    given = {"id": "a b", "host": "x y", "port": 0, "tls": "maybe", "ttl": "long", "limit_per_day": -1}
    answer = await api.post("/account", given)
    assert (answer.status, answer.fields) == (422, ["id", "host", "port", "tls", "ttl", "limit_per_day"])


async def test_what_is_missing_is_named(api: Api) -> None:
    answer = await api.post("/account", {})
    assert (answer.status, answer.fields) == (422, ["id", "host"])
    assert {fault["type"] for fault in answer.body["detail"]} == {"missing"}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_all_that_was_shown_can_be_sent_back_edited(api: Api, method: str) -> None:
    """What is read-only does not stand in the way of who changes something else."""
    await api.post("/account", {"tenant_id": "acme", "id": "main", "host": "sandbox", "ttl": 60})
    account = await api.runtime.services.accounts.get("acme", "main")
    await api.runtime.store.circuits.trip(account, "450 come back later", api.clock.now())
    shown = (await api.get("/account/main")).body
    assert (shown["circuit"], shown["last_error"]) == ("open", "450 come back later")
    path = "/account/main" if method == "PUT" else "/account"
    answer = await api.call(method, path, {**shown, "limit_per_hour": 7})
    assert answer.status == 200, answer.text
    again = (await api.get("/account/main")).body
    changed = {"limit_per_hour": 7, "circuit": "closed", "last_error": None}
    assert {**again, "updated_at": None} == {**shown, **changed, "updated_at": None}


async def test_what_was_shown_may_have_moved_on_by_itself(api: Api) -> None:
    """A server that failed, or is well again, and another's change are no reason to refuse this one."""
    await api.add_account("acme", "main")
    shown = (await api.get("/account/main")).body
    api.clock.ahead = 5
    await api.put("/account/main", {"ttl": 61})
    account = await api.runtime.services.accounts.get("acme", "main")
    await api.runtime.store.circuits.trip(account, "450 come back later", api.clock.now())
    for stale in (shown, {**shown, "updated_at": 1, "circuit": "reset", "last_error": {"none": []}}):
        answer = await api.put("/account/main", {**stale, "ttl": 60})
        assert answer.status == 200, answer.text
        told = {name: answer.body[name] for name in ("ttl", "circuit", "last_error")}
        assert told == {"ttl": 60, "circuit": "closed", "last_error": None}


async def test_what_is_read_only_is_not_silently_left_alone(api: Api) -> None:
    await api.add_account("acme", "main")
    answer = await api.put("/account/main", {"ttl": 60, "created_at": "2020-01-01T00:00:00Z"})
    assert (answer.status, answer.fields) == (422, ["created_at"])
    assert (await api.get("/account/main")).body["ttl"] == 300


@pytest.mark.parametrize(("port", "effective"), [(587, "starttls"), (465, "ssl"), (25, "none")])
async def test_tls_sent_back_as_it_was_shown_still_follows_the_port(
    api: Api, port: int, effective: str
) -> None:
    """It was never given, so it is not given by being sent back; nor does it let a password go in clear."""
    await api.post("/account", {"tenant_id": "acme", **WITH_SECRETS, "port": port})
    shown = (await api.get("/account/main")).body
    assert shown["tls"] == effective
    answer = await api.put("/account/main", shown)
    assert (answer.status, answer.body["tls"]) == (200, effective)
    assert (await api.runtime.services.accounts.get("acme", "main")).tls is None
    moved = await api.put("/account/main", {"port": 587 if port == 465 else 465, "password": SECRET})
    assert moved.body["tls"] == ("starttls" if port == 465 else "ssl")


async def test_tls_that_differs_from_the_ports_is_kept_as_given(api: Api) -> None:
    """Also when the port changes with it, and when it lets a password go in clear."""
    for change in (
        {"tls": "none", "password": SECRET},
        {"tls": "ssl", "password": SECRET},
        {"port": 465, "tls": "starttls", "password": SECRET},
        {"port": 25, "tls": "none", "password": SECRET},
    ):
        await api.post("/account", {"tenant_id": "acme", **WITH_SECRETS})
        assert (await api.put("/account/main", change)).status == 200
        assert (await api.runtime.services.accounts.get("acme", "main")).tls == change["tls"]


async def test_a_wrong_password_is_not_echoed(api: Api) -> None:
    answer = await api.post("/account", {"id": "main", "host": "sandbox", "password": f"{SECRET}\r\n"})
    assert (answer.status, answer.fields) == (422, ["password"])
    assert SECRET not in answer.text


@pytest.mark.parametrize("change", [{"host": "evil.example"}, {"port": 2525}, {"tls": "none"}])
async def test_a_password_does_not_follow_to_another_server(api: Api, change: Json) -> None:
    await api.post("/account", {"tenant_id": "acme", **WITH_SECRETS})
    answer = await api.put("/account/main", change)
    assert (answer.status, answer.fields) == (422, ["password"])


async def test_an_account_with_queued_messages_is_deleted_by_force_only(api: Api) -> None:
    await api.add_account("acme", "main")
    await api.queue("acme", ["m1"])
    refused = await api.delete("/account/main")
    assert (refused.status, refused.body["error"]) == (
        409,
        "account 'main' has 1 queued message; with force it becomes an error",
    )
    assert (await api.delete("/account/main?force=true")).body == {"ok": True}
    shown = (await api.get("/messages/m1")).body
    assert (shown["status"], shown["error"]) == ("error", "account deleted")
    counted = 'gmp_errors_total{account_id="main",tenant_id="acme"} 1.0'
    assert counted in (await api.get("/metrics", token=None)).text


async def test_what_a_tenants_token_gives_is_remembered_as_the_tenants(api: Api) -> None:
    """Addresses that a tenant gives are not trusted (security.md), so the row must know."""
    key = await api.add_tenant("untrusted")
    await api.post("/account", {"id": "theirs", "host": "smtp.example.org"}, token=key)
    await api.post("/account", {"tenant_id": "untrusted", "id": "ours", "host": "smtp.example.org"})
    accounts = await api.runtime.services.accounts.list("untrusted")
    assert {account.id: account.by_tenant for account in accounts} == {"theirs": True, "ours": False}


async def test_an_id_cannot_be_changed(api: Api) -> None:
    await api.add_account("acme", "main")
    answer = await api.put("/account/main", {"id": "other"})
    assert (answer.status, answer.fields) == (422, ["id"])


@pytest.mark.parametrize(
    "query", ["force=perhaps", "force=", "tenant_id=a%20b", "force=1&force=0", "tenant_id=%00"]
)
async def test_a_malformed_query_is_422(api: Api, query: str) -> None:
    answer = await api.delete(f"/account/main?{query}")
    assert (answer.status, answer.fields) == (422, [query.partition("=")[0]])


async def test_a_message_finds_its_tenant_by_the_account(api: Api) -> None:
    """The admin may name the account alone, while one tenant only has it."""
    await api.add_account("acme", "main")
    assert (await api.submit(message("m1", account_id="main"))).body["queued"] == 1
    assert (await api.get("/messages/m1")).body["tenant_id"] == "acme"


async def test_no_value_of_any_field_is_too_much(api: Api) -> None:
    """A strange value is taken or refused with the field named, never an error of the server."""
    faults = {}
    for name in AccountInput.model_fields:
        for value in STRANGE:
            answer = await api.post("/account", {"id": "main", "host": "sandbox"} | {name: value})
            named = answer.fields[0].partition(".")[0] if answer.status == 422 else None
            if answer.status != 200 and named != name:
                faults[f"{name}={value!r}"] = answer.text
    assert faults == {}
