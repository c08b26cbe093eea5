"""Tenants over HTTP (contract: http-api.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mail_proxy.services.inputs import TenantInput
from tests.support.api import STRANGE, Api, Json, open_api

SECRET = "s3cr3t-of-the-tests"
AUTHS: list[Json] = [
    {"method": "bearer", "token": SECRET},
    {"method": "basic", "user": "ann", "password": SECRET},
]


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with open_api(database_url) as api:
        yield api


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
