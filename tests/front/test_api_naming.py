"""What the query of a command may name, its body may name too (contract: http-api.md)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.api import Api, Json, open_api

SUSPEND, ACTIVATE = "/commands/suspend", "/commands/activate"
B = "campaign"
COMMANDS: dict[str, Json] = {
    SUSPEND: {},
    ACTIVATE: {},
    "/commands/run-now": {},
    "/commands/delete-messages": {"ids": ["m1"]},
    "/commands/cleanup-messages": {"older_than_seconds": 0},
    "/reports/replay": {"since": 0},
    "/messages/m1/retry": {"at": 5_000_000_000},
}
commands = pytest.mark.parametrize("path", COMMANDS)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """Two tenants with the same things."""
    async with open_api(database_url) as opened:
        for tenant_id in ("beta", "zeta"):
            await opened.add_tenant(tenant_id, "main")
            await opened.queue(tenant_id, ["m1"], batch_code=B)
        yield opened


@pytest.fixture
async def key(api: Api) -> str:
    """The API key of beta."""
    answer = await api.post("/tenant/beta/api-key")
    return str(answer.body["api_key"])


async def state(api: Api, tenant_id: str) -> tuple[list[str], list[str], str | None]:
    """What is suspended of a tenant, the messages it has, and when the first is due."""
    batches = (await api.get(f"/tenant/{tenant_id}")).body["suspended_batches"]
    messages = (await api.get(f"/messages?tenant_id={tenant_id}")).body["messages"]
    return batches, [each["id"] for each in messages], messages[0]["deferred_ts"] if messages else None


UNTOUCHED: tuple[list[str], list[str], str | None] = ([], ["m1"], None)


@commands
async def test_the_admin_names_the_tenant_in_the_body(api: Api, path: str) -> None:
    """The answer is that to the same in the query, and nothing happens to another tenant."""
    by_body = await api.post(path, {**COMMANDS[path], "tenant_id": "beta"})
    by_query = await api.post(f"{path}?tenant_id=zeta", COMMANDS[path])
    assert by_body.status == 200, by_body.text
    different = {"tenant_id", "pk", "created_at", "updated_at", "message_id"}
    shown = [
        {name: value for name, value in answer.body.items() if name not in different}
        for answer in (by_body, by_query)
    ]
    assert shown[0] == shown[1]
    assert await state(api, "beta") == await state(api, "zeta")
    [logged, _] = (await api.get("/command-log?tenant_id=beta&limit=2")).body["commands"]
    assert (logged["path"], logged["payload"]) == (path, {**COMMANDS[path], "tenant_id": "beta"})


@commands
async def test_what_one_tenant_is_told_does_not_reach_another(api: Api, path: str) -> None:
    assert (await api.post(path, {**COMMANDS[path], "tenant_id": "beta"})).status == 200
    assert await state(api, "zeta") == UNTOUCHED


@commands
async def test_both_places_may_name_the_same_tenant(api: Api, key: str, path: str) -> None:
    body = {**COMMANDS[path], "tenant_id": "beta"}
    assert (await api.post(f"{path}?tenant_id=beta", body)).status == 200
    if path != "/commands/delete-messages":
        assert (await api.post(path, body, token=key)).status == 200


@commands
async def test_two_tenants_at_once_are_refused(api: Api, path: str) -> None:
    answer = await api.post(f"{path}?tenant_id=beta", {**COMMANDS[path], "tenant_id": "zeta"})
    assert (answer.status, answer.fields) == (422, ["tenant_id"])
    assert [await state(api, each) for each in ("beta", "zeta")] == [UNTOUCHED] * 2


@commands
@pytest.mark.parametrize("tenant_id", ["zeta", "nobody", "*", ""])
async def test_a_tenants_token_names_its_own_alone(api: Api, key: str, path: str, tenant_id: str) -> None:
    answer = await api.post(path, {**COMMANDS[path], "tenant_id": tenant_id}, token=key)
    assert (answer.status, answer.body["error"]) == (401, "Token not authorized for this tenant")
    assert [await state(api, each) for each in ("beta", "zeta")] == [UNTOUCHED] * 2


@commands
@pytest.mark.parametrize("tenant_id", [7, True, [], {}, "", "a b", "../beta", "x" * 129])
async def test_what_is_no_tenants_name_is_refused(api: Api, path: str, tenant_id: object) -> None:
    answer = await api.post(path, {**COMMANDS[path], "tenant_id": tenant_id})
    assert (answer.status, answer.fields) == (422, ["tenant_id"])


@commands
async def test_a_tenant_that_is_not_there_is_not_found(api: Api, path: str) -> None:
    assert (await api.post(path, {**COMMANDS[path], "tenant_id": "nobody"})).status == 404


@pytest.mark.parametrize("query", ["", f"?batch_code={B}"])
async def test_a_batch_named_in_the_body_is_held_alone(api: Api, key: str, query: str) -> None:
    """Not all that the tenant has; and so it is let go."""
    held = await api.post(f"{SUSPEND}{query}", {"batch_code": B, "more": 1}, token=key)
    assert (held.status, held.body["suspended_batches"]) == (200, [B])
    await api.post(f"{SUSPEND}?batch_code=other", token=key)
    free = await api.post(f"{ACTIVATE}{query}", {"batch_code": B, "tenant_id": "beta"})
    assert (free.status, free.body["suspended_batches"]) == (200, ["other"])


async def test_query_and_body_may_complete_each_other(api: Api) -> None:
    held = await api.post(f"{SUSPEND}?tenant_id=beta", {"batch_code": B})
    assert held.body["suspended_batches"] == [B]
    free = await api.post(f"{ACTIVATE}?batch_code={B}", {"tenant_id": "beta"})
    assert free.body["suspended_batches"] == []


@pytest.mark.parametrize("path", [SUSPEND, ACTIVATE])
@pytest.mark.parametrize(
    ("query", "body", "field"),
    [
        (f"&batch_code={B}", {"batch_code": "other"}, "batch_code"),
        ("", {"batch_code": ""}, "batch_code"),
        ("", {"batch_code": "*"}, "batch_code"),
        ("", {"batch_code": 7}, "batch_code"),
        ("", {"batch_code": "x" * 65}, "batch_code"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused(
    api: Api, path: str, query: str, body: Json, field: str
) -> None:
    answer = await api.post(f"{path}?tenant_id=beta{query}", body)
    assert (answer.status, answer.fields) == (422, [field])
    assert await state(api, "beta") == UNTOUCHED


async def test_the_whole_instance_is_named_in_the_body(api: Api) -> None:
    assert (await api.post(SUSPEND, {"tenant_id": "*"})).body == {"ok": True, "active": False}
    assert (await api.post(ACTIVATE, {"tenant_id": "*"})).body == {"ok": True, "active": True}


async def test_no_tenant_is_named_by_a_body_that_says_nothing(api: Api, key: str) -> None:
    refused = await api.post(SUSPEND, {"batch_code": B})
    assert (refused.status, refused.fields) == (422, ["tenant_id"])
    held = await api.post(SUSPEND, {"tenant_id": None, "batch_code": None}, token=key)
    assert held.body["suspended_batches"] == ["*"]
