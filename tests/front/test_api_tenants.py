"""Tenants over HTTP (contract: http-api.md)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mail_proxy.services.inputs import TenantInput
from tests.support.api import STRANGE, Api, Json
from tests.support.works import ask

SECRET = "s3cr3t-of-the-tests"
AUTHS: list[Json] = [
    {"method": "bearer", "token": SECRET},
    {"method": "basic", "user": "ann", "password": SECRET},
]


async def test_a_new_tenant_is_answered_with_its_key_once(api: Api) -> None:
    created = await api.post("/tenant", {"id": "acme", "name": "Acme"})
    assert created.status == 200
    assert sorted(created.body) == ["api_key", "ok"]
    assert len(created.body["api_key"]) == 43
    assert (await api.post("/tenant", {"id": "acme"})).body == {"ok": True}


async def test_replacing_takes_the_default_of_what_is_left_out_and_keeps_the_key(api: Api) -> None:
    given = {"id": "acme", "name": "Acme", "client_sync_path": "/in", "rate_limits": {"hourly": 5}}
    key = (await api.post("/tenant", given)).body["api_key"]
    await api.post("/tenant", {"id": "acme"})
    shown = (await api.get("/tenant/acme", token=key)).body
    assert shown["name"] is None
    assert shown["client_sync_path"] == "/mail-proxy/sync"
    assert shown["rate_limits"] == {"hourly": 0, "daily": 0}


async def test_a_tenant_is_shown_flat_with_every_field(api: Api) -> None:
    await api.add_tenant("acme")
    assert set((await api.get("/tenant/acme")).body) == {
        "ok",
        "id",
        "name",
        "client_base_url",
        "client_sync_path",
        "client_attachment_path",
        "client_auth",
        "rate_limits",
        "large_file_config",
        "webhook_secret",
        "report_nulls",
        "active",
        "suspended_batches",
        "api_key_expires_at",
        "created_at",
        "updated_at",
    }


async def test_put_changes_what_it_names_and_nothing_else(api: Api) -> None:
    await api.post("/tenant", {"id": "acme", "name": "Acme", "client_sync_path": "/in"})
    changed = await api.put("/tenant/acme", {"name": "Acme Ltd"})
    assert (changed.body["name"], changed.body["client_sync_path"]) == ("Acme Ltd", "/in")
    assert (await api.get("/tenant/acme")).body == changed.body


@pytest.mark.parametrize("auth", AUTHS, ids=["bearer", "basic"])
async def test_secrets_never_come_back(api: Api, auth: Json) -> None:
    given = {"id": "acme", "client_auth": auth, "webhook_secret": SECRET}
    answers = [
        await api.post("/tenant", given),
        await api.get("/tenant/acme"),
        await api.get("/tenants"),
        await api.put("/tenant/acme", {"client_auth": auth}),
    ]
    assert [answer.status for answer in answers] == [200] * 4
    assert not any(SECRET in answer.text for answer in answers)
    shown = answers[1].body
    assert shown["client_auth"] == {name: "***" if value == SECRET else value for name, value in auth.items()}
    assert shown["webhook_secret"] == "***"


@pytest.mark.parametrize("auth", AUTHS, ids=["bearer", "basic"])
async def test_what_was_shown_can_be_sent_back(api: Api, auth: Json) -> None:
    """``***`` leaves a secret as it is."""
    await api.post("/tenant", {"id": "acme", "client_auth": auth})
    shown = (await api.get("/tenant/acme")).body
    assert (await api.put("/tenant/acme", {"client_auth": shown["client_auth"]})).status == 200
    kept = (await api.runtime.services.tenants.get("acme")).client_auth
    assert SECRET in (kept.token, kept.password)


async def test_put_changes_what_it_names_of_the_limits(api: Api) -> None:
    """And nothing else of them, either."""
    await api.post("/tenant", {"id": "acme", "rate_limits": {"hourly": 5, "daily": 50}})
    for given, limits in [
        ({"hourly": 7}, {"hourly": 7, "daily": 50}),
        ({"daily": 70}, {"hourly": 7, "daily": 70}),
        ({}, {"hourly": 7, "daily": 70}),
    ]:
        changed = await api.put("/tenant/acme", {"rate_limits": given})
        assert (changed.status, changed.body["rate_limits"]) == (200, limits)
    await api.post("/tenant", {"id": "acme", "rate_limits": {"hourly": 8}})
    assert (await api.get("/tenant/acme")).body["rate_limits"] == {"hourly": 8, "daily": 0}


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_was_shown_may_have_moved_on_by_itself(api: Api, method: str) -> None:
    """Another's change is no reason to refuse this one."""
    await api.add_tenant("acme")
    shown = (await api.get("/tenant/acme")).body
    api.clock.ahead = 5
    await api.put("/tenant/acme", {"client_sync_path": "/in"})
    path = "/tenant/acme" if method == "PUT" else "/tenant"
    for moment in (shown["updated_at"], "soon"):
        answer = await api.call(method, path, {**shown, "name": "Acme", "updated_at": moment})
        assert answer.status == 200, answer.text
    after = (await api.get("/tenant/acme")).body
    assert (after["name"], after["updated_at"] > shown["updated_at"]) == ("Acme", True)


async def test_all_that_was_shown_can_be_sent_back_edited(api: Api) -> None:
    """What is read-only does not stand in the way of who changes something else."""
    await api.post("/tenant", {"id": "acme", "client_auth": AUTHS[0], "webhook_secret": SECRET})
    await api.post("/tenant/acme/api-key", {"expires_at": api.clock.now() + 100.7})
    before = await api.runtime.services.tenants.get("acme")
    shown = (await api.get("/tenant/acme")).body
    answer = await api.put("/tenant/acme", {**shown, "name": "Acme"})
    assert (answer.status, answer.body["name"]) == (200, "Acme")
    after = await api.runtime.services.tenants.get("acme")
    assert replace(after, name=None, updated_at=0.0) == replace(before, updated_at=0.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("suspended_batches", ["spring"]), ("api_key", "mine"), ("created_at", 1)],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_what_is_read_only_is_not_silently_left_alone(
    api: Api, method: str, name: str, value: object
) -> None:
    await api.add_tenant("acme")
    path = "/tenant/acme" if method == "PUT" else "/tenant"
    answer = await api.call(method, path, {"id": "acme", "name": "new", name: value})
    assert (answer.status, answer.fields) == (422, [name])
    assert (await api.get("/tenant/acme")).body["name"] is None


@pytest.mark.parametrize(("name", "value"), [("suspended_batches", ["*"]), ("api_key", "mine")])
async def test_nor_can_it_be_given_at_the_beginning(api: Api, name: str, value: object) -> None:
    answer = await api.post("/tenant", {"id": "acme", name: value})
    assert (answer.status, answer.fields) == (422, [name])


async def test_the_admin_says_when_the_key_that_is_there_expires(api: Api) -> None:
    """Earlier, later, or never; the key stays the same."""
    key = await api.add_tenant("acme")
    soon = int(api.clock.now()) + 100
    assert (await api.put("/tenant/acme", {"api_key_expires_at": soon})).body["api_key_expires_at"] == soon
    assert (await api.get("/status", token=key)).status == 200
    api.clock.ahead = 101
    assert (await api.get("/status", token=key)).status == 401
    answer = await api.put("/tenant/acme", {"api_key_expires_at": None})
    assert answer.body["api_key_expires_at"] is None
    assert (await api.get("/status", token=key)).status == 200


async def test_replacing_a_tenant_leaves_the_end_of_its_key_unless_it_is_named(api: Api) -> None:
    await api.post("/tenant", {"id": "acme", "api_key_expires_at": 5e9})
    assert (await api.post("/tenant", {"id": "acme"})).status == 200
    assert (await api.get("/tenant/acme")).body["api_key_expires_at"] == 5e9
    assert (await api.post("/tenant", {"id": "acme", "api_key_expires_at": None})).status == 200
    assert (await api.get("/tenant/acme")).body["api_key_expires_at"] is None


async def test_a_key_that_is_not_there_cannot_expire(api: Api) -> None:
    answer = await api.put("/tenant/default", {"api_key_expires_at": 5e9})
    assert (answer.status, answer.fields) == (422, ["api_key_expires_at"])
    assert (await api.put("/tenant/default", {"api_key_expires_at": None})).status == 200


async def test_a_wrong_secret_is_not_echoed(api: Api) -> None:
    """The error names the field; what was given is not repeated."""
    auth = {"method": "bearer", "token": f"{SECRET}\n"}
    answer = await api.post("/tenant", {"id": "acme", "client_auth": auth})
    assert (answer.status, answer.fields) == (422, ["client_auth.token"])
    assert SECRET not in answer.text


async def test_a_secret_does_not_follow_to_another_server(api: Api) -> None:
    auth = {"method": "bearer", "token": SECRET}
    await api.post("/tenant", {"id": "acme", "client_base_url": "https://a.example", "client_auth": auth})
    moved = await api.put("/tenant/acme", {"client_base_url": "https://b.example"})
    assert (moved.status, moved.fields) == (422, ["client_auth"])


async def test_every_fault_is_told_at_once(api: Api) -> None:
    given = {"id": "-", "name": 1, "client_base_url": "ftp://x", "rate_limits": {"hourly": -1}, "active": 1}
    answer = await api.post("/tenant", given)
    assert answer.status == 422
    assert answer.fields == ["id", "name", "client_base_url", "rate_limits.hourly", "active"]
    assert {"loc", "msg", "type"} == set(answer.body["detail"][0])


async def test_lists_hold_all_tenants_or_the_active_ones(api: Api) -> None:
    await api.post("/tenant", {"id": "acme"})
    await api.post("/tenant", {"id": "gone", "active": False})
    for query, ids in [
        ("", ["acme", "default", "gone"]),
        ("?active_only=true", ["acme", "default"]),
        ("?active_only=0", ["acme", "default", "gone"]),
    ]:
        shown = (await api.get(f"/tenants{query}")).body["tenants"]
        assert [tenant["id"] for tenant in shown] == ids


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tenant/absent"),
        ("PUT", "/tenant/absent"),
        ("DELETE", "/tenant/absent"),
        ("POST", "/tenant/absent/api-key"),
        ("DELETE", "/tenant/absent/api-key"),
        ("POST", "/commands/run-now?tenant_id=absent"),
        ("GET", "/tenant/%00"),
        ("GET", "/tenant/%ff"),
        ("GET", "/tenant/a%2Fb"),
    ],
)
async def test_an_unknown_tenant_is_404(api: Api, method: str, path: str) -> None:
    body: Json | None = {} if method == "PUT" else None
    answer = await api.call(method, path, body)
    assert (answer.status, answer.body["ok"]) == (404, False)


async def test_the_default_tenant_is_always_there(api: Api) -> None:
    assert (await api.get("/tenant/default")).status == 200
    assert (await api.delete("/tenant/default")).status == 409


async def test_deleting_takes_all_data_along(api: Api) -> None:
    key = await api.add_tenant("acme", "main")
    await api.queue("acme", ["m1"])
    assert (await api.delete("/tenant/acme")).body == {"ok": True}
    assert (await api.get("/status", token=key)).status == 401
    assert (await api.get("/messages")).body["messages"] == []
    assert (await api.get("/accounts")).body["accounts"] == []


async def test_an_id_cannot_be_changed(api: Api) -> None:
    await api.add_tenant("acme")
    answer = await api.put("/tenant/acme", {"id": "other"})
    assert (answer.status, answer.fields) == (422, ["id"])


@pytest.mark.parametrize("expires_at", ["soon", True, -1, 1e300])
async def test_a_bad_expiry_is_422(api: Api, expires_at: object) -> None:
    answer = await api.post("/tenant/default/api-key", {"expires_at": expires_at})
    assert (answer.status, answer.fields) == (422, ["expires_at"])


async def test_the_default_tenant_gets_a_key_like_any_other(api: Api) -> None:
    key = (await api.post("/tenant/default/api-key", {"expires_at": None})).body["api_key"]
    assert (await api.get("/tenant/default", token=key)).status == 200


async def test_no_value_of_any_field_is_too_much(api: Api) -> None:
    """A strange value is taken or refused with the field named, never an error of the server."""
    faults = {}
    for name in TenantInput.model_fields:
        for value in STRANGE:
            answer = await api.post("/tenant", {"id": "acme"} | {name: value})
            named = answer.fields[0].partition(".")[0] if answer.status == 422 else None
            if answer.status != 200 and named != name:
                faults[f"{name}={value!r}"] = answer.text
    assert faults == {}


# Secrets that cannot be decrypted


async def damaged(api: Api, *columns: str) -> None:
    """Add tenants `acme`, with such secrets, and `beta`."""
    await api.add_tenant("beta")
    await api.post("/tenant", {"id": "acme", "client_auth": AUTHS[0], "webhook_secret": SECRET})
    for column in columns:
        await api.runtime.store.database.write(
            ask, f"UPDATE tenants SET {column} = 'ENC:AAAA' WHERE id = 'acme'"
        )


async def test_a_tenant_whose_secrets_are_damaged_is_shown_and_deleted(api: Api) -> None:
    """It hides no other, and what works without its secrets goes on."""
    await damaged(api, "enc_client_auth", "enc_webhook_secret")
    shown = (await api.get("/tenant/acme")).body
    assert (shown["client_auth"], shown["webhook_secret"]) == (None, "***")
    listed = {each["id"]: each["client_auth"] for each in (await api.get("/tenants")).body["tenants"]}
    assert (listed["acme"], listed["beta"]) == (None, {"method": "none"})
    await api.add_account("acme", "main")
    await api.queue("acme", ["m1"])
    assert (await api.delete("/tenant/acme")).status == 200
    assert (await api.get("/tenant/acme")).status == 404


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ({}, ["client_auth", "webhook_secret"]),
        ({"client_auth": AUTHS[0]}, ["webhook_secret"]),
        ({"client_auth": {"method": "bearer", "token": "***"}, "webhook_secret": None}, ["client_auth"]),
        ({"client_auth": AUTHS[1] | {"password": "***"}, "webhook_secret": "new"}, ["client_auth"]),
        ({"client_auth": None, "webhook_secret": "new"}, ["client_auth"]),
        ({"client_auth": {"method": "none"}, "webhook_secret": "***"}, ["webhook_secret"]),
    ],
)
async def test_damaged_secrets_must_be_given_again(api: Api, given: Json, fields: list[str]) -> None:
    """Whatever else is changed, also as they were shown: they cannot be kept, nor are they dropped unseen."""
    await damaged(api, "enc_client_auth", "enc_webhook_secret")
    refused = await api.put("/tenant/acme", {"name": "New", **given})
    assert (refused.status, refused.fields) == (422, fields)
    assert (await api.get("/tenant/acme")).body["name"] is None


@pytest.mark.parametrize("auth", [*AUTHS, {"method": "none"}])
@pytest.mark.parametrize("secret", [SECRET, None])
async def test_a_tenant_is_mended_by_secrets_given_again(api: Api, auth: Json, secret: str | None) -> None:
    """Or by none, if that is said; by a change as by a replacement."""
    given = {"id": "acme", "client_auth": auth, "webhook_secret": secret}
    for call in (api.put("/tenant/acme", given), api.post("/tenant", given)):
        await damaged(api, "enc_client_auth", "enc_webhook_secret")
        assert (await call).status == 200
        mended = await api.runtime.services.tenants.get("acme")
        assert (mended.webhook_secret, mended.unreadable) == (secret, frozenset())
        assert mended.client_auth.token == auth.get("token")
        assert mended.client_auth.password == auth.get("password")
        await api.delete("/tenant/acme")
        await api.delete("/tenant/beta")
