"""Tokens and keys: their tenants, their ends (contract: http-api.md, Authentication)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_proxy.api.app import ENDPOINTS
from mail_proxy.api.auth import Level
from mail_proxy.api.routing import Endpoint
from mail_proxy.encryption import hash_token
from tests.support.api import ADMIN, Api, Json, message, open_api

PROTECTED = [endpoint for endpoint in ENDPOINTS if endpoint.level is not Level.PUBLIC]


@pytest.mark.parametrize("endpoint", PROTECTED, ids=lambda endpoint: endpoint.name)
async def test_no_token_that_is_unknown_opens_anything(sqlite_api: Api, endpoint: Endpoint) -> None:
    path = endpoint.path.format(id="default", name="files")
    for token in ("", "wrong", "wröng", "x" * 5000):
        answer = await sqlite_api.call(endpoint.method, path, token=token)
        assert (answer.status, answer.body["ok"]) == (401, False)
        assert "www-authenticate" in answer.headers


async def test_a_message_of_another_tenant_refuses_the_whole_request(api: Api) -> None:
    """Nothing of a request is queued when its token may not make all of it."""
    key = await api.add_tenant("acme", "main")
    answer = await api.submit(message("mine"), message("theirs", tenant_id="default"), token=key)
    assert answer.status == 401
    assert (await api.get("/messages")).body["messages"] == []


async def test_a_tenants_token_stands_for_its_tenant(api: Api) -> None:
    """With it, tenant_id may be left out everywhere."""
    key = await api.add_tenant("acme")
    assert (await api.post("/account", {"id": "main", "host": "sandbox"}, token=key)).status == 200
    assert (await api.submit(message("m1"), token=key)).body["queued"] == 1
    assert (await api.get("/account/main", token=key)).body["tenant_id"] == "acme"
    assert (await api.get("/messages/m1", token=key)).body["tenant_id"] == "acme"
    assert [each["id"] for each in (await api.get("/accounts", token=key)).body["accounts"]] == ["main"]
    assert (await api.put("/account/main", {"ttl": 60}, token=key)).body["ttl"] == 60
    assert (await api.get("/messages/m1/events", token=key)).status == 200


async def test_foreign_accounts_cannot_be_changed_deleted_or_used(api: Api) -> None:
    key = await api.add_tenant("acme", "mine")
    await api.add_tenant("other", "theirs")
    assert (await api.put("/account/theirs", {"ttl": 1}, token=key)).status == 404
    assert (await api.delete("/account/theirs", token=key)).status == 404
    answer = await api.submit(message(account_id="theirs"), token=key)
    assert answer.status == 400
    absent = await api.submit(message(account_id="absent"), token=key)
    assert answer.text.replace("theirs", "absent") == absent.text


async def test_lists_of_a_tenants_token_hold_its_own_only(api: Api) -> None:
    key = await api.add_tenant("acme", "mine")
    await api.add_tenant("other", "theirs")
    await api.queue("acme", ["a"])
    await api.queue("other", ["b"])
    assert [each["id"] for each in (await api.get("/accounts", token=key)).body["accounts"]] == ["mine"]
    assert [each["id"] for each in (await api.get("/messages", token=key)).body["messages"]] == ["a"]
    assert (await api.get("/status", token=key)).body["pending_messages"] == 1


async def test_the_admins_lists_hold_all_tenants_or_the_one_named(api: Api) -> None:
    await api.add_tenant("acme", "mine")
    await api.add_tenant("other", "theirs")
    everything = (await api.get("/accounts")).body["accounts"]
    assert {each["tenant_id"] for each in everything} == {"acme", "other"}
    of_one = (await api.get("/accounts?tenant_id=other")).body["accounts"]
    assert [each["id"] for each in of_one] == ["theirs"]


async def test_a_key_ends_when_it_expires(api: Api) -> None:
    await api.add_tenant("acme")
    expires_at = int(api.clock.now()) + 100
    key = (await api.post("/tenant/acme/api-key", {"expires_at": expires_at})).body["api_key"]
    assert (await api.get("/tenant/acme", token=key)).body["api_key_expires_at"] == expires_at
    api.clock.ahead = 101
    assert (await api.get("/tenant/acme", token=key)).status == 401


async def test_a_new_key_ends_the_old_one_at_once(api: Api) -> None:
    old = await api.add_tenant("acme")
    new = (await api.post("/tenant/acme/api-key")).body["api_key"]
    assert len(new) == 43
    assert [(await api.get("/status", token=key)).status for key in (old, new)] == [401, 200]


async def test_a_revoked_key_is_dead_at_once(api: Api) -> None:
    key = await api.add_tenant("acme")
    assert (await api.get("/status", token=key)).status == 200
    assert (await api.delete("/tenant/acme/api-key")).body == {"ok": True}
    assert (await api.get("/status", token=key)).status == 401


async def test_what_is_remembered_of_a_tenant_ends_with_it(api: Api) -> None:
    """A tenant made anew under the same name, by the same steps, shares nothing with the one before."""
    old = await api.add_tenant("acme", "main")
    assert (await api.submit(message("before"), token=old)).status == 200
    await api.delete("/tenant/acme")
    new = await api.add_tenant("acme", "other")
    assert (await api.submit(message("after"), token=old)).status == 401
    refused = await api.submit(message("after", tenant_id="acme", account_id="main"))
    assert refused.status == 400, refused.text
    assert (await api.get("/messages", token=new)).body["messages"] == []


async def test_keys_are_kept_as_their_hash_only(api: Api) -> None:
    """Neither the key nor its hash opens anything but through the key itself."""
    key = await api.add_tenant("acme")
    assert (await api.get("/status", token=hash_token(key))).status == 401


async def test_an_inactive_tenant_may_still_look(api: Api) -> None:
    """Switching a tenant off stops its mail, not its view of it."""
    key = await api.add_tenant("acme", "main")
    await api.queue("acme", ["m1"])
    assert (await api.put("/tenant/acme", {"active": False})).status == 200
    assert (await api.get("/messages/m1", token=key)).status == 200
    refused = await api.submit(message("m2"), token=key)
    assert refused.status == 400
    assert refused.body["detail"]["rejected"][0]["errors"][0]["loc"] == ["tenant_id"]


ADMINS: Json = {
    "active": False,
    "rate_limits": {"hourly": 9},
    "report_nulls": False,
    "suspended_batches": ["spring"],
    "api_key_expires_at": 5e9,
    "api_key": "mine",
}


@pytest.mark.parametrize("name", ADMINS)
async def test_what_is_the_admins_of_a_tenant_is_403_for_the_tenant(api: Api, name: str) -> None:
    """With whatever else it comes: of all that was shown nothing is changed then."""
    key = await api.add_tenant("acme")
    before = (await api.get("/tenant/acme", token=key)).body
    for given in ({"name": "new", name: ADMINS[name]}, {**before, "name": "new", name: ADMINS[name]}):
        answer = await api.put("/tenant/acme", given, token=key)
        assert (answer.status, answer.body["error"]) == (403, f"only the admin token may change {name}")
    assert (await api.get("/tenant/acme")).body == before


async def test_a_tenant_sends_back_what_it_was_shown_of_itself(api: Api) -> None:
    """Fields that are the admin's, and secrets, are then as they were."""
    auth = {"method": "bearer", "token": "s3cr3t"}
    given = {"id": "acme", "rate_limits": {"hourly": 9, "daily": 90}, "report_nulls": False}
    created = await api.post("/tenant", {**given, "client_auth": auth, "webhook_secret": "s3cr3t"})
    await api.put("/tenant/acme", {"api_key_expires_at": api.clock.now() + 100.7})
    await api.post("/commands/suspend?tenant_id=acme&batch_code=spring")
    key = created.body["api_key"]
    before = await api.runtime.services.tenants.get("acme")
    shown = (await api.get("/tenant/acme", token=key)).body
    answer = await api.put("/tenant/acme", {**shown, "name": "Acme"}, token=key)
    assert answer.status == 200, answer.text
    partial = {"rate_limits": {"daily": 90}, "active": True}
    assert (await api.put("/tenant/acme", partial, token=key)).status == 200
    after = await api.runtime.services.tenants.get("acme")
    assert replace(after, name=None, updated_at=0.0) == replace(before, updated_at=0.0)


async def test_a_tenant_may_change_its_own_face(api: Api) -> None:
    key = await api.add_tenant("acme")
    given = {"name": "Acme", "client_base_url": "https://acme.example", "client_sync_path": "/in"}
    answer = await api.put("/tenant/acme", given, token=key)
    assert answer.status == 200
    assert {name: answer.body[name] for name in given} == given


async def test_a_token_need_not_be_ascii(sqlite_url: str) -> None:
    """A given admin token is accepted whatever it is made of; clients send it as UTF-8."""
    async with open_api(sqlite_url, {"GMP_API_TOKEN": "schlüssel"}) as api:
        assert (await api.get("/status", token="schlüssel")).status == 200
        assert (await api.get("/status", token=ADMIN)).status == 401
